import { rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CgroupReader,
  parseBytes,
  parseCgroupMemberships,
  parseCgroupMounts,
  parseStatField,
} from "../../../src/monitor/cgroup.ts";
import { addFiles, fixtureRoot, mib } from "./fixture-root.ts";

const v2Mount = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const v1Mount = "35 31 0:32 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n";
const unlimitedV1 = "9223372036854771712\n";

/** The files of one v2 cgroup. */
function v2(dir: string, files: { max?: string; high?: string; current?: string; stat?: string }): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, text] of Object.entries(files)) found[`sys/fs/cgroup${dir}/memory.${name}`] = `${text}\n`;
  return found;
}

function v1(dir: string, limit: string, usage?: string, stat?: string): Record<string, string> {
  const base = `sys/fs/cgroup/memory${dir}/memory`;
  return {
    [`${base}.limit_in_bytes`]: limit,
    ...(usage !== undefined && { [`${base}.usage_in_bytes`]: usage }),
    ...(stat !== undefined && { [`${base}.stat`]: stat }),
  };
}

function read(files: Record<string, string>) {
  return new CgroupReader(fixtureRoot(files)).read();
}

describe("cgroup v2", () => {
  const inSlice = { "proc/self/cgroup": "0::/user.slice/job.scope\n", "proc/self/mountinfo": v2Mount };

  it("answers the tightest limit over all levels, whichever level it is on", async () => {
    const files = {
      ...inSlice,
      ...v2("/user.slice/job.scope", { max: mib(8192), high: "max", current: mib(1000), stat: "anon 5" }),
      ...v2("/user.slice", { max: mib(4096), high: "max", current: mib(1500), stat: "anon 5" }),
    };
    expect(await read(files)).toEqual({ limitMb: 4096, availableMb: 2596 });
  });

  it("takes what is left on the fullest level even when another level has the smaller limit", async () => {
    const files = {
      ...inSlice,
      ...v2("/user.slice/job.scope", { max: mib(4096), high: "max", current: mib(100) }),
      ...v2("/user.slice", { max: mib(16384), high: "max", current: mib(16000) }),
    };
    expect(await read(files)).toEqual({ limitMb: 4096, availableMb: 384 });
  });

  it("counts memory.high as a limit, because work above it is stalled", async () => {
    const files = { ...inSlice, ...v2("/user.slice", { max: mib(4096), high: mib(3000), current: mib(1000) }) };
    expect(await read(files)).toEqual({ limitMb: 3000, availableMb: 2000 });
  });

  it("gives inactive file cache back, and nothing else of the usage", async () => {
    const stat = `anon ${mib(700)}\nfile ${mib(1300)}\ninactive_file ${mib(1000)}\nactive_file ${mib(300)}`;
    const files = { ...inSlice, ...v2("/user.slice/job.scope", { max: mib(4096), high: "max", current: mib(2000), stat }) };
    expect(await read(files)).toEqual({ limitMb: 4096, availableMb: 3096 });
  });

  it("says nothing when no level has a limit: max is no limit", async () => {
    const files = { ...inSlice, ...v2("/user.slice/job.scope", { max: "max", high: "max", current: mib(2000) }) };
    expect(await read(files)).toEqual({});
  });

  it("takes a limit of 0 for a limit", async () => {
    const files = { ...inSlice, ...v2("/user.slice", { max: "0", high: "max", current: "0" }) };
    expect(await read(files)).toEqual({ limitMb: 0, availableMb: 0 });
  });

  it("never answers less than 0 when the usage is over the limit", async () => {
    const files = { ...inSlice, ...v2("/user.slice", { max: mib(100), high: "max", current: mib(130) }) };
    expect(await read(files)).toEqual({ limitMb: 100, availableMb: 0 });
  });

  it("rounds the limit down and the usage up", async () => {
    const files = {
      ...inSlice,
      ...v2("/user.slice", { max: String(100 * 1048576 + 1048575), high: "max", current: String(10 * 1048576 + 1) }),
    };
    expect(await read(files)).toEqual({ limitMb: 100, availableMb: 89 });
  });

  it("leaves what is available unknown when the usage of a limited level cannot be read", async () => {
    const files = {
      ...inSlice,
      ...v2("/user.slice/job.scope", { max: mib(8192), high: "max", current: mib(1000) }),
      ...v2("/user.slice", { max: mib(4096), high: "max" }),
    };
    expect(await read(files)).toEqual({ limitMb: 4096 });
  });

  it("finds the container's own limit when the path of the host is not visible", async () => {
    const files = {
      "proc/self/cgroup": "0::/system.slice/docker-0123abcd.scope\n",
      "proc/self/mountinfo": v2Mount,
      ...v2("", { max: mib(2048), high: "max", current: mib(48) }),
    };
    expect(await read(files)).toEqual({ limitMb: 2048, availableMb: 2000 });
  });

  it("finds it too when the path is / as in a cgroup namespace", async () => {
    const files = {
      "proc/self/cgroup": "0::/\n",
      "proc/self/mountinfo": v2Mount,
      ...v2("", { max: mib(2048), high: "max", current: mib(48) }),
    };
    expect(await read(files)).toEqual({ limitMb: 2048, availableMb: 2000 });
  });

  it("strips the part of the path that the mount begins with", async () => {
    const files = {
      "proc/self/cgroup": "0::/docker/0123abcd/inner\n",
      "proc/self/mountinfo": "31 23 0:28 /docker/0123abcd /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
      ...v2("/inner", { max: mib(512), high: "max", current: mib(12) }),
      ...v2("", { max: mib(2048), high: "max", current: mib(48) }),
    };
    expect(await read(files)).toEqual({ limitMb: 512, availableMb: 500 });
  });

  it("does not leave the mount for a path with dots in it", async () => {
    const files = {
      "proc/self/cgroup": "0::/../../outside\n",
      "proc/self/mountinfo": v2Mount,
      "sys/outside/memory.max": "1\n",
      "outside/memory.max": "1\n",
      ...v2("/outside", { max: "1", high: "max", current: "1" }),
      ...v2("", { max: mib(2048), high: "max", current: mib(48) }),
    };
    expect(await read(files)).toEqual({ limitMb: 2048, availableMb: 2000 });
  });

  it("works with the usual places when mountinfo cannot be read", async () => {
    const files = { "proc/self/cgroup": "0::/a\n", ...v2("/a", { max: mib(300), high: "max", current: "0" }) };
    expect(await read(files)).toEqual({ limitMb: 300, availableMb: 300 });
  });

  it("follows a mount at an unusual place with a blank in its name", async () => {
    const files = {
      "proc/self/cgroup": "0::/a\n",
      "proc/self/mountinfo": "31 23 0:28 / /my\\040groups rw - cgroup2 none rw\n",
      "my groups/a/memory.max": mib(64),
      "my groups/a/memory.current": mib(4),
    };
    expect(await read(files)).toEqual({ limitMb: 64, availableMb: 60 });
  });

  it("follows this process when it is moved to another cgroup", async () => {
    const root = fixtureRoot({
      ...inSlice,
      ...v2("/user.slice", { max: mib(4096), high: "max", current: mib(96) }),
      ...v2("/tight", { max: mib(100), high: "max", current: mib(50) }),
    });
    const reader = new CgroupReader(root);
    expect(await reader.read()).toEqual({ limitMb: 4096, availableMb: 4000 });
    addFiles(root, { "proc/self/cgroup": "0::/tight\n" });
    expect(await reader.read()).toEqual({ limitMb: 100, availableMb: 50 });
  });
});

describe("cgroup v1 and mixtures", () => {
  const hybrid = {
    "proc/self/cgroup": "4:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/docker/abc\n",
    "proc/self/mountinfo": `${v1Mount}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n`,
  };

  it("reads limit, usage and total_inactive_file", async () => {
    const files = {
      ...hybrid,
      ...v1("/docker/abc", mib(4096), mib(3000), `inactive_file 1\ntotal_inactive_file ${mib(1000)}\n`),
    };
    expect(await read(files)).toEqual({ limitMb: 4096, availableMb: 2096 });
  });

  it("takes the huge number of v1 for no limit", async () => {
    const files = { ...hybrid, ...v1("/docker/abc", unlimitedV1, mib(3000)), ...v1("", unlimitedV1, mib(9000)) };
    expect(await read(files)).toEqual({});
  });

  it("sees the limit of an ancestor above an unlimited cgroup", async () => {
    const files = { ...hybrid, ...v1("/docker/abc", unlimitedV1, mib(3000)), ...v1("/docker", mib(8000), mib(7000)) };
    expect(await read(files)).toEqual({ limitMb: 8000, availableMb: 1000 });
  });

  it("sees the limit of an ancestor that is out of sight through hierarchical_memory_limit", async () => {
    const stat = `hierarchical_memory_limit ${mib(1024)}\ntotal_inactive_file 0\n`;
    const files = { ...hybrid, ...v1("", unlimitedV1, mib(24), stat) };
    expect(await read(files)).toEqual({ limitMb: 1024, availableMb: 1000 });
  });

  it("finds the controller where it is mounted together with others", async () => {
    const files = {
      "proc/self/cgroup": "4:cpu,memory:/a\n",
      "proc/self/mountinfo": "35 31 0:32 / /cg/both rw - cgroup cgroup rw,cpu,memory\n",
      "cg/both/a/memory.limit_in_bytes": mib(70),
      "cg/both/a/memory.usage_in_bytes": mib(60),
    };
    expect(await read(files)).toEqual({ limitMb: 70, availableMb: 10 });
  });

  it("takes the limit from the v2 side where that one has the memory controller", async () => {
    const files = {
      "proc/self/cgroup": "3:cpuset:/a\n0::/a\n",
      "proc/self/mountinfo": "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "sys/fs/cgroup/unified/a/memory.max": mib(70),
      "sys/fs/cgroup/unified/a/memory.current": mib(60),
    };
    expect(await read(files)).toEqual({ limitMb: 70, availableMb: 10 });
  });
});

describe("whatever the files hold", () => {
  it("answers nothing when there is no /proc and no /sys at all", async () => {
    const root = fixtureRoot({});
    rmSync(root, { recursive: true });
    expect(await new CgroupReader(join(root, "gone")).read()).toEqual({});
  });

  it("reads this machine without failing", async () => {
    const { limitMb = 1, availableMb = 0 } = await new CgroupReader().read();
    expect(limitMb).toBeGreaterThan(0);
    expect(availableMb).toBeLessThanOrEqual(limitMb);
  });

  it("parses numbers to whole bytes or to nothing", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.integer().map(String), fc.bigInt().map(String), fc.constant("max")), (text) => {
        const bytes = parseBytes(text);
        expect(bytes === undefined || (Number.isSafeInteger(bytes) && bytes >= 0)).toBe(true);
        const field = parseStatField(`x 1\nfile ${text}\n`, "file");
        expect(field === undefined || (Number.isSafeInteger(field) && field >= 0)).toBe(true);
      }),
    );
    expect(parseBytes(" 42\n")).toBe(42);
    expect(parseStatField("total_file 1\nfile 2\n", "file")).toBe(2);
  });

  it("never throws on a membership or mount list, and its paths are absolute", () => {
    const words = fc.constantFrom(
      "0::/a",
      "4:memory:/b",
      "memory",
      "::",
      " - ",
      "cgroup",
      "cgroup2",
      "/",
      "\\040",
      "\n",
      " ",
      "rw,memory",
    );
    const text = fc.array(fc.oneof(words, fc.string())).map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, (t) => {
        for (const m of parseCgroupMemberships(t)) expect(m.path.startsWith("/")).toBe(true);
        for (const m of parseCgroupMounts(t)) expect(m.mountPoint.startsWith("/")).toBe(true);
      }),
    );
    expect(parseCgroupMemberships("12:memory:/a:b\n")).toEqual([{ version: 1, path: "/a:b" }]);
  });

  it("never answers a negative number, NaN, or more available than the limit", async () => {
    const root = fixtureRoot({ "proc/self/cgroup": "0::/user.slice\n", "proc/self/mountinfo": v2Mount });
    const value = fc.oneof(
      fc.constantFrom("max", "", "-1", "abc", unlimitedV1),
      fc.nat().map((n) => String(n * 1000)),
    );
    await fc.assert(
      fc.asyncProperty(value, value, value, value, async (max, high, current, inactive) => {
        addFiles(root, v2("/user.slice", { max, high, current, stat: `inactive_file ${inactive}` }));
        const { limitMb, availableMb } = await new CgroupReader(root).read();
        if (limitMb !== undefined) expect(limitMb >= 0 && Number.isSafeInteger(limitMb)).toBe(true);
        if (availableMb !== undefined) expect(availableMb >= 0 && availableMb <= (limitMb ?? -1)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});
