import { describe, expect, it } from "vitest";
import { examinationText, examine } from "../../../src/cli/doctor/command.ts";
import type { Probes } from "../../../src/cli/doctor/probes.ts";
import { resolveConfig } from "../../../src/config/resolve.ts";
import type { Answer } from "../../../src/monitor/nvidia/one-shot.ts";
import { expectGolden } from "../../golden/golden.ts";

const a = "GPU-aaaaaaaa-0000-0000-0000-000000000000";
const b = "GPU-bbbbbbbb-0000-0000-0000-000000000000";
const rows = `0, ${a}, 24564, 10018, Default, Enabled, Disabled, 550.163.01, NVIDIA RTX 4090\n`;

const ended = (text: string, code = 0): Answer => ({ kind: "ended", end: { code }, text });

function probes(changes: Partial<Probes> = {}): Probes {
  const files: Record<string, string> = {
    "/proc/self/status": "Name:\tnode\nNSpid:\t1234\n",
    "/proc/meminfo": "MemTotal:       65536000 kB\n",
    "/proc/self/limits":
      "Limit  Soft  Hard  Units\nMax open files            1024                 524288               files     \n",
  };
  return {
    nodeVersion: "v22.3.0",
    nvidiaSmi: "/usr/bin/nvidia-smi",
    ask: async () => ended(rows),
    deviceFiles: () => [
      { path: "/dev/nvidia0", usable: true },
      { path: "/dev/nvidiactl", usable: true },
    ],
    readText: (path) => files[path],
    exists: () => false,
    inHostPidNamespace: () => true,
    cgroup: async () => ({}),
    listen: async () => ({ kind: "free" }),
    sluiceAnswers: async () => false,
    ...changes,
  };
}

async function find(name: string, changes: Partial<Probes>, flags: Record<string, unknown> = {}) {
  const checks = await examine(probes(changes), resolveConfig({ flags }).config);
  const found = checks.filter((check) => check.name === name);
  expect(found, `a check named ${name} among ${checks.map((check) => check.name).join(", ")}`).not.toHaveLength(0);
  return found[0] as (typeof found)[number];
}

const withFile = (path: string, content: string | undefined): Partial<Probes> => ({
  readText: (asked) => (asked === path ? content : probes().readText(asked)),
});

describe("the doctor's findings", () => {
  it("a machine where all is well fails nothing and warns of nothing", async () => {
    const checks = await examine(probes(), resolveConfig({}).config);
    expect(checks.map((check) => check.status)).toEqual(checks.map(() => "ok"));
    expectGolden("doctor-well.txt", examinationText(checks));
  });

  it("everything wrong at once reads as test/golden/doctor-unwell.txt says", async () => {
    const checks = await examine(
      probes({
        nodeVersion: "v18.20.0",
        ask: async () =>
          ended(
            `0, ${a}, 24564, 10018, Exclusive_Process, Disabled, Disabled, 550.163.01, NVIDIA RTX 4090\n` +
              `1, ${b}, [GPU requires reset], [GPU requires reset], Default, Enabled, Disabled, 550.163.01, NVIDIA RTX 4090\n`,
          ),
        deviceFiles: () => [{ path: "/dev/nvidia0", usable: false }],
        inHostPidNamespace: () => false,
        exists: () => true,
        cgroup: async () => ({ limitMb: 8192, availableMb: 5000 }),
        listen: async () => ({ kind: "in-use" }),
        ...withFile("/proc/self/limits", "Max open files            1024                 4096               files\n"),
      }),
      resolveConfig({}).config,
    );
    expectGolden("doctor-unwell.txt", examinationText(checks));
  });
});

describe("nvidia-smi", () => {
  it("that is not found is named as it was asked for, with a way to try sluice without a GPU", async () => {
    const check = await find("nvidia-smi", { nvidiaSmi: undefined }, { nvidiaSmi: "/opt/smi" });
    expect(check.status).toBe("fail");
    expect(check.message).toContain("/opt/smi was not found");
    expect(check.advice).toContain("--simulate");
  });

  const troubles: readonly (readonly [string, Answer, RegExp])[] = [
    [
      "the driver is not loaded",
      ended("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n\n", 9),
      /driver is not loaded/,
    ],
    ["its library is missing", ended("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\n", 12), /libnvidia-ml/],
    [
      "versions do not match",
      ended("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161\n", 18),
      /different versions/,
    ],
    ["a container has lost its devices", ended("Failed to initialize NVML: Unknown Error\n", 255), /recreate the container/],
    ["it may not read the devices", ended("Failed to initialize NVML: Insufficient Permissions\n", 4), /permission/],
    ["there is no GPU", ended("No devices were found\n", 6), /no GPU/],
    ["it does not answer", { kind: "timeout", afterMs: 30_000 }, /did not answer within 30 s/],
  ];
  for (const [title, answer, words] of troubles) {
    it(`that fails because ${title} is explained in plain words`, async () => {
      const check = await find("nvidia-smi", { ask: async () => answer });
      expect(check.status).toBe("fail");
      expect(check.message).toMatch(words);
    });
  }

  it("that answers garbage is not believed", async () => {
    expect((await find("nvidia-smi", { ask: async () => ended("hello\n") })).message).toContain(
      'nothing that can be understood: "hello"',
    );
  });

  it("of an old driver is asked again without MIG", async () => {
    const asked: string[] = [];
    const ask: Probes["ask"] = async (args) => {
      asked.push(args.join(" "));
      if (args.join(" ").includes("mig.mode")) return ended('Field "mig.mode.current" is not a valid field to query.\n', 2);
      return ended(`0, ${a}, 24564, 10018, Default, Enabled, 440.64, Tesla K80\n`);
    };
    expect((await find("GPU 0", { ask })).message).toBe("Tesla K80: 10018 of 24564 MiB free.");
    expect(asked).toHaveLength(2);
  });

  it("with one broken GPU still tells about the healthy ones, by index", async () => {
    const ask: Probes["ask"] = async (args) => {
      if (args[0] === "-L")
        return ended(
          `GPU 0: NVIDIA RTX 4090 (UUID: ${a})\nUnable to determine the device handle for gpu 0000:07:00.0: GPU is lost.\n`,
          15,
        );
      if (args.includes("-i")) return ended(args.at(-1) === "0" ? rows : "");
      return ended(
        "Unable to determine the device handle for GPU0000:07:00.0: GPU is lost.  Reboot the system to recover this GPU\n",
        15,
      );
    };
    const checks = await examine(probes({ ask }), resolveConfig({}).config);
    expect(checks.find((check) => check.name === "GPU 1")).toMatchObject({ status: "fail" });
    expect(checks.find((check) => check.name === "GPU 0")).toMatchObject({ status: "ok" });
  });
});

describe("each GPU", () => {
  const gpu = (cells: string) => ({ ask: async () => ended(`${cells}\n`) });
  const cases: readonly (readonly [string, string, string, RegExp])[] = [
    ["in Prohibited mode", `0, ${a}, 24564, 10018, Prohibited, Enabled, Disabled, 550, X`, "fail", /Prohibited/],
    ["in MIG mode", `0, ${a}, 81559, 69956, Default, Enabled, Enabled, 550, X`, "ok", /MIG mode/],
    [
      "without a memory of its own",
      `0, ${a}, [N/A], [N/A], Default, Enabled, [N/A], 550, NVIDIA GB10`,
      "warn",
      /does not tell its memory/,
    ],
    [
      "that may not be read",
      `0, ${a}, [Insufficient Permissions], [Insufficient Permissions], Default, Enabled, [N/A], 550, X`,
      "fail",
      /Insufficient Permissions/,
    ],
    ["that is lost", `0, ${a}, [GPU is lost], [GPU is lost], Default, Enabled, [N/A], 550, X`, "fail", /GPU is lost/],
  ];
  for (const [title, cells, status, words] of cases) {
    it(`${title} is ${status}`, async () => {
      const check = await find("GPU 0", gpu(cells));
      expect(check.status).toBe(status);
      expect(check.message).toMatch(words);
    });
  }

  it("without persistence mode is pointed out", async () => {
    const check = await find("GPU 0 persistence", gpu(`0, ${a}, 24564, 10018, Default, Disabled, Disabled, 550, X`));
    expect(check).toMatchObject({ status: "warn" });
    expect(check.advice).toContain("nvidia-persistenced");
  });
});

describe("the machine", () => {
  it("an old Node fails", async () => {
    for (const [version, status] of [
      ["v20.18.3", "fail"],
      ["v20.19.0", "ok"],
      ["v24.0.0", "ok"],
    ] as const) {
      expect((await find("Node.js", { nodeVersion: version })).status).toBe(status);
    }
  });

  it("a PID namespace of its own means that memory is estimated, and --pid=host is the way out", async () => {
    const check = await find("process ids", { inHostPidNamespace: () => false });
    expect(check.status).toBe("warn");
    expect(check.advice).toContain("--pid=host");
    expect((await find("process ids", withFile("/proc/self/status", "NSpid:\t900\t7\n"))).status).toBe("warn");
  });

  it("a cgroup limit counts only when it is tighter than the machine", async () => {
    expect((await find("host memory", { cgroup: async () => ({ limitMb: 8192, availableMb: 5000 }) })).message).toContain(
      "8192 of the machine's 64000 MiB",
    );
    expect((await find("host memory", { cgroup: async () => ({ limitMb: 999_999, availableMb: 5 }) })).status).toBe("ok");
    expect((await find("host memory", { cgroup: async () => ({ limitMb: 8192 }) })).advice).toContain("/sys/fs/cgroup");
  });

  it("a low limit of open files is told as clients that can wait", async () => {
    const check = await find(
      "open files",
      withFile("/proc/self/limits", "Max open files            1024                 4096               files\n"),
    );
    expect(check.message).toContain("about 3896 clients");
  });
});

describe("the doors", () => {
  it("a port in use by sluice is well, and one in use by something else is not", async () => {
    const listen: Probes["listen"] = async (address) => ({ kind: address.endsWith(":50051") ? "in-use" : "free" });
    expect(await find("gRPC door", { listen, sluiceAnswers: async () => true })).toMatchObject({ status: "ok" });
    expect((await find("gRPC door", { listen })).message).toBe("127.0.0.1:50051 is in use by something that is not sluice.");
    expect(await find("web door", { listen })).toMatchObject({ status: "ok" });
  });

  it("a door that other machines can reach needs --insecure", async () => {
    expect((await find("gRPC door", {}, { grpc: ["0.0.0.0:50051"] })).advice).toContain("--insecure");
    expect(await find("gRPC door", {}, { grpc: ["0.0.0.0:50051"], insecure: true })).toMatchObject({ status: "ok" });
  });

  it("a closed web door is not looked at", async () => {
    const checks = await examine(probes(), resolveConfig({ flags: { web: "off" } }).config);
    expect(checks.map((check) => check.name)).not.toContain("web door");
  });
});
