import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Database from "libsql";
import { describe, expect, it } from "vitest";
import { problemOf } from "../../src/store/problem.ts";
import { applicationId, migrations } from "../../src/store/schema.ts";
import { StateFile } from "../../src/store/state-file.ts";
import { change, folder, leaseMemo, ticketMemo } from "./support.ts";

function none(changes: ReturnType<typeof change>[]) {
  return { changes, learned: [] };
}

/** What is wrong, in the words that people are told. */
function wrong(action: () => unknown, path: string): string {
  try {
    action();
  } catch (error) {
    const { what, todo } = problemOf(error, path);
    return `${what}; ${todo}`;
  }
  throw new Error("nothing is wrong");
}

describe("the state file", () => {
  it("gives back what was written, to the last digit, also to another life", () => {
    using dir = folder();
    const path = join(dir.path, "deep", "state.db");
    const file = new StateFile(path);
    file.apply({
      changes: [change([leaseMemo(1), leaseMemo(2)], [ticketMemo(1)])],
      learned: [["durations", '{"a":0.1}']],
      tokenLimit: 1_800_000_000_000_003,
    });
    file.setBoot("boot-1");
    file.close();
    const again = new StateFile(path);
    const { leases, tickets, learned, tokenLimit, boot } = again.load();
    again.close();
    expect(leases).toEqual([leaseMemo(1), leaseMemo(2)]);
    expect(tickets).toEqual([ticketMemo(1)]);
    expect(learned).toEqual([["durations", { a: 0.1 }]]);
    expect({ tokenLimit, boot }).toEqual({ tokenLimit: 1_800_000_000_000_003, boot: "boot-1" });
  });

  it("keeps the newest of each, and forgets what is gone, in the order in which they came", () => {
    using dir = folder();
    const file = new StateFile(join(dir.path, "state.db"));
    const gone = { leases: [{ id: "lease-1", memo: undefined }], tickets: [{ id: "ticket-1", memo: undefined }] };
    file.apply(
      none([change([leaseMemo(1)], [ticketMemo(1)]), gone, change([leaseMemo(2)]), change([leaseMemo(2, { ttlMs: 5 })])]),
    );
    expect(file.load()).toMatchObject({ leases: [{ id: "lease-2", ttlMs: 5 }], tickets: [] });
    file.replace({ leases: [leaseMemo(3)], tickets: [ticketMemo(3)] }, { changes: [], learned: [], tokenLimit: 9 });
    expect(file.load()).toMatchObject({ leases: [{ id: "lease-3" }], tickets: [{ id: "ticket-3" }], tokenLimit: 9 });
    file.close();
  });

  it("writes a batch as a whole or not at all", () => {
    using dir = folder();
    const file = new StateFile(join(dir.path, "state.db"));
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    const bad = { leases: [{ id: "lease-2", memo: cyclic as never }], tickets: [] };
    expect(() => file.apply(none([change([leaseMemo(1)]), bad]))).toThrow();
    expect(file.load().leases).toEqual([]);
    file.apply(none([change([leaseMemo(1)])]));
    expect(file.load().leases).toHaveLength(1);
    file.close();
  });

  it("is one server's alone, also against another process, until that has ended", () => {
    using dir = folder();
    const path = join(dir.path, "state.db");
    const file = new StateFile(path);
    expect(wrong(() => new StateFile(path), path)).toMatch(/in use by another program.*stop the other server/);
    const database = fileURLToPath(import.meta.resolve("libsql"));
    const script = `try { const d = new (require(${JSON.stringify(database)}))(${JSON.stringify(path)}); d.exec("PRAGMA busy_timeout = 50"); d.prepare("SELECT * FROM lease").all(); console.log("read it"); } catch (e) { console.log(e.code); }`;
    const other = () => execFileSync(process.execPath, ["-e", script], { encoding: "utf8" }).trim();
    expect(other()).toBe("SQLITE_BUSY");
    file.close();
    expect(other()).toBe("read it");
  }, 30_000);

  it("that is no state file, damaged, or another program's is told in plain words, and left as it is", () => {
    using dir = folder();
    const path = join(dir.path, "state.db");
    writeFileSync(path, "these are my notes. ".repeat(300));
    expect(wrong(() => new StateFile(path), path)).toMatch(/is not a state file.*choose another folder/);
    expect(readFileSync(path, "utf8")).toMatch(/^these are my notes/);
    rmSync(path);

    const others = new Database(path);
    others.exec("CREATE TABLE music (title TEXT)");
    others.close();
    expect(wrong(() => new StateFile(path), path)).toMatch(/is another program's database; choose another folder/);
    rmSync(path);

    mkdirSync(path);
    expect(wrong(() => new StateFile(path), path)).toMatch(/cannot be opened.*this user may write/);
    rmSync(path, { recursive: true });

    const file = new StateFile(path);
    file.apply(none([change(Array.from({ length: 300 }, (_, n) => leaseMemo(n)))]));
    file.close();
    const bytes = readFileSync(path);
    bytes.fill(0xff, 8_192, 40_960);
    writeFileSync(path, bytes);
    expect(
      wrong(() => {
        const damaged = new StateFile(path);
        damaged.load();
      }, path),
    ).toMatch(/is damaged.*move it away/);
  });

  it("that was written by a newer version is not touched", () => {
    using dir = folder();
    const path = join(dir.path, "state.db");
    new StateFile(path).close();
    const newer = new Database(path);
    newer.exec(`PRAGMA user_version = ${migrations.length + 1}`);
    newer.close();
    expect(wrong(() => new StateFile(path), path)).toMatch(/was written by a newer sluice.*start that version/);
  });

  it("that is removed or replaced while the server runs is noticed at the next write, not at the next start", () => {
    using dir = folder();
    const path = join(dir.path, "state.db");
    const file = new StateFile(path);
    renameSync(path, `${path}.away`);
    expect(wrong(() => file.apply(none([change([leaseMemo(1)])])), path)).toMatch(/was removed or replaced/);
    file.close();
  });

  it("says so when the disk is full, and writes on when there is room again", ({ skip }) => {
    // A small file system of its own, seen by one child alone.
    const script = `
      import { StateFile } from ${JSON.stringify(new URL("../../dist/store/state-file.js", import.meta.url).href)};
      import { problemOf } from ${JSON.stringify(new URL("../../dist/store/problem.js", import.meta.url).href)};
      import { rmSync, writeFileSync } from "node:fs";
      const [dir, memo] = [process.argv[1], JSON.parse(process.argv[2])];
      const file = new StateFile(dir + "/state.db");
      const put = (n) => file.apply({ changes: [{ leases: [{ id: "lease-" + n, memo }], tickets: [] }], learned: [] });
      put(0);
      writeFileSync(dir + "/ballast", "");
      try { for (;;) writeFileSync(dir + "/ballast", Buffer.alloc(4096), { flag: "a" }); } catch {}
      let n = 1;
      try { for (; n < 1000; n++) put(n); } catch (error) { console.log(problemOf(error, "state.db").what); }
      const there = file.load().leases.length;
      rmSync(dir + "/ballast");
      put(5000);
      console.log(there === n, file.load().leases.length === n + 1);
    `;
    using dir = folder();
    const inside = `mount -t tmpfs -o size=400k tmpfs "$1" && exec "$2" --input-type=module -e "$3" "$1" "$4"`;
    const args = ["-rm", "sh", "-c", inside, "sh", dir.path, process.execPath, script, JSON.stringify(leaseMemo(1))];
    const end = spawnSync("unshare", args, { encoding: "utf8" });
    if (end.error !== undefined || /unshare|mount:/.test(end.stderr)) {
      process.stderr.write("SKIPPED: no file system of its own can be mounted here, so a full disk was not tried.\n");
      skip();
    }
    expect(end.stderr).toBe("");
    expect(end.stdout).toMatch(/^the disk of state\.db is full .*\ntrue true\n$/);
  }, 30_000);

  it("of every released form can be read", () => {
    using dir = folder();
    const released = new URL("released/", import.meta.url);
    for (let form = 1; form <= migrations.length; form++) {
      const from = new URL(`form-${form}.db`, released);
      if (!existsSync(from)) throw new Error(`${from.pathname} is missing: every released form is kept as a file`);
      const path = join(dir.path, `form-${form}.db`);
      writeFileSync(path, readFileSync(from));
      const file = new StateFile(path);
      const { leases, tickets, learned, tokenLimit, boot } = file.load();
      expect(leases).toEqual([leaseMemo(1), leaseMemo(2, { end: "expired", endedAt: 1_795_000_060_000 })]);
      expect(tickets).toEqual([ticketMemo(1)]);
      expect({ learned, tokenLimit, boot }).toEqual({ learned: [["example", { a: 1 }]], tokenLimit: 77, boot: "boot" });
      file.close();
      const raw = new Database(path);
      expect(raw.pragma("application_id")).toEqual([{ application_id: applicationId }]);
      raw.close();
    }
  });
});
