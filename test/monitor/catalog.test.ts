import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Failure } from "../../src/engine/failure.ts";
import { defaultMonitorName, isMonitorAddress, MonitorCatalog, type MonitorFactories } from "../../src/monitor/catalog.ts";
import type { SystemMonitor } from "../../src/monitor/system-monitor.ts";

function named(name: string): SystemMonitor {
  return {
    name,
    start: () => Promise.reject(new Error("not started by a catalog")),
    refresh() {},
    status: () => ({ healthy: false, message: "" }),
    stop: async () => {},
  };
}

const factories: MonitorFactories = {
  nvidia: () => named("sys-mon-nvidia"),
  host: () => named("sys-mon-host"),
  simulated: () => named("sys-mon-simulated"),
  remote: (address) => named(address),
};

function failure(call: () => unknown): Failure {
  try {
    call();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("did not fail");
}

const addresses = [
  "gpu1:50051",
  "10.0.0.7:1",
  "[::1]:65535",
  "gpu-1.rack_2.example:50051",
  "unix:/run/sluice.sock",
  "unix:///run/s",
];
const nonsense = [
  "",
  "sys-mon",
  "SYS-MON-HOST",
  "gpu1",
  "gpu1:",
  ":50051",
  "gpu1:0",
  "gpu1:65536",
  "gpu1:5x",
  "http://gpu1:80",
  "dns:///gpu1:80",
  "::1:50051",
  "[gpu1]:80",
  "-a:1",
  "a b:1",
  "unix:",
  "unix:relative.sock",
  "unix:/a b",
  "unix:/a\u0000b",
  "a\n:1",
  `${"a".repeat(300)}:1`,
];

describe("monitors by name", () => {
  it("are made by their factories, each time anew", () => {
    const catalog = new MonitorCatalog(factories);
    for (const name of ["sys-mon-nvidia", "sys-mon-host", "sys-mon-simulated", ...addresses]) {
      expect(catalog.create(name).name).toBe(name);
      expect(catalog.create(name)).not.toBe(catalog.create(name));
    }
  });

  it.each(nonsense)("are refused with what is allowed when the name is %j", (name) => {
    const { reason, violations } = failure(() => new MonitorCatalog(factories).create(name));
    expect(reason).toBe("INVALID_ARGUMENT");
    expect(violations).toHaveLength(1);
    expect(violations[0]?.field).toBe("name");
    for (const allowed of ["sys-mon-nvidia", "sys-mon-host", "sys-mon-simulated", "host:port", "unix:/path"]) {
      expect(violations[0]?.description).toContain(allowed);
    }
  });

  it("does not offer a simulation that the server was not started with", () => {
    const { simulated: _, ...real } = factories;
    const catalog = new MonitorCatalog(real);
    expect(catalog.names()).toEqual(["sys-mon-nvidia", "sys-mon-host"]);
    const { reason, message } = failure(() => catalog.create("sys-mon-simulated"));
    expect(reason).toBe("MONITOR_UNAVAILABLE");
    expect(message).toContain("--simulate");
    expect(new MonitorCatalog(factories).names()).toContain("sys-mon-simulated");
  });

  it("answers yes or no for any text that might be an address", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (isMonitorAddress(text)) expect(text).toMatch(/:/);
      }),
    );
    for (const address of addresses) expect(isMonitorAddress(address)).toBe(true);
  });
});

it("chooses a simulation that was asked for, else nvidia-smi where there is one, else the host alone", () => {
  expect(defaultMonitorName({ nvidiaSmiFound: true, simulate: "24576" })).toBe("sys-mon-simulated");
  expect(defaultMonitorName({ nvidiaSmiFound: true })).toBe("sys-mon-nvidia");
  expect(defaultMonitorName({ nvidiaSmiFound: false, simulate: undefined })).toBe("sys-mon-host");
  expect(defaultMonitorName({ nvidiaSmiFound: false, simulate: "" })).toBe("sys-mon-host");
});
