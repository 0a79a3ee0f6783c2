import { describe, expect, it } from "vitest";
import type { ComputeApp } from "../../../src/monitor/nvidia/compute-apps.ts";
import { ProcessLedger } from "../../../src/monitor/nvidia/process-ledger.ts";

const a = "GPU-aaaaaaaa";
const b = "GPU-bbbbbbbb";
const visible = 10;
const other = 11;
const invisible = 99;

function ledger(hostPids = false): ProcessLedger {
  return new ProcessLedger((pid) => (pid === invisible ? [] : [`${pid}:1`]), hostPids, 15_000);
}

function app(pid: number, more: Partial<ComputeApp> = {}): ComputeApp {
  return { gpuUuid: a, pid, usedMb: 500, name: "python", nameless: false, ...more };
}

const stranger = app(invisible, { name: "[Not Found]", nameless: true });

function show(to: ProcessLedger, list: readonly ComputeApp[], at = 100): void {
  to.offer({ askedAt: at, endedAt: at + 10, apps: { list, incomplete: new Set(), rejected: 0 } });
  to.adopt(at + 10);
}

describe("the process list", () => {
  it("is held until the memory figures are newer than it", () => {
    const one = ledger();
    one.offer({ askedAt: 100, endedAt: 110, apps: { list: [app(visible)], incomplete: new Set(), rejected: 0 } });
    one.adopt(109);
    expect(one.processes).toBeUndefined();
    one.adopt(110);
    expect(one.processes).toEqual({
      observedAt: 100,
      list: [{ pid: visible, gpuUuid: a, usedMb: 500, name: "python", lineage: ["10:1"] }],
    });
  });

  it("is not believed before there is one, and no longer when it is old", () => {
    const one = ledger();
    expect(one.attributes(a, undefined, 0, 0)).toBe(false);
    show(one, []);
    expect(one.attributes(a, undefined, 0, 15_100)).toBe(true);
    expect(one.attributes(a, undefined, 0, 15_101)).toBe(false);
  });
});

describe("attribution", () => {
  it("is off for a GPU with a process that has no figure, and on for the others", () => {
    const one = ledger();
    show(one, [{ gpuUuid: a, pid: visible, name: "x", nameless: false }, app(other, { gpuUuid: b })]);
    expect([one.attributes(a, undefined, 600, 120), one.attributes(b, undefined, 600, 120)]).toEqual([false, true]);
  });

  it("is off where the driver does not list, and everywhere when lines could not be read", () => {
    const one = ledger();
    one.offer({
      askedAt: 1,
      endedAt: 2,
      apps: { list: [app(visible, { gpuUuid: b })], incomplete: new Set([a]), rejected: 0 },
    });
    one.adopt(2);
    expect([one.attributes(a, undefined, 0, 3), one.attributes(b, undefined, 600, 3)]).toEqual([false, true]);
    one.offer({ askedAt: 3, endedAt: 4, apps: { list: [], incomplete: new Set(), rejected: 1 } });
    one.adopt(4);
    expect(one.attributes(b, undefined, 0, 5)).toBe(false);
  });

  // A pid of the host may by chance be one of ours: crediting a worker with a stranger's memory would admit too much.
  it("is off on all GPUs as soon as pids are of another namespace", () => {
    const one = ledger();
    show(one, [stranger, app(visible, { gpuUuid: b })]);
    expect([one.attributes(a, undefined, 600, 120), one.attributes(b, undefined, 600, 120)]).toEqual([false, false]);
  });

  it("survives one list with a process that has just ended, not two", () => {
    const one = ledger();
    show(one, [app(visible)], 100);
    show(one, [app(visible), stranger], 200);
    expect(one.attributes(a, undefined, 600, 220)).toBe(true);
    show(one, [app(visible), stranger], 300);
    expect(one.attributes(a, undefined, 600, 320)).toBe(false);
  });

  it("stays on when a process with a name has ended before it was looked at", () => {
    const one = ledger();
    show(one, [app(invisible)]);
    expect(one.attributes(a, undefined, 600, 120)).toBe(true);
    expect(one.processes?.list[0]?.lineage).toEqual([]);
  });

  it("is off for a busy GPU with an empty list, unless pids are known to be ours or the host's", () => {
    const one = ledger();
    show(one, []);
    expect(one.attributes(a, undefined, 255, 120)).toBe(true);
    expect(one.attributes(a, undefined, 256, 120)).toBe(false);
    show(one, [app(visible)]);
    show(one, []);
    expect(one.attributes(a, undefined, 4000, 120)).toBe(true);
    const host = ledger(true);
    show(host, []);
    expect(host.attributes(a, undefined, 4000, 120)).toBe(true);
  });

  it("is off for the devices of a GPU on which a process is somewhere", () => {
    const one = ledger();
    show(one, [app(visible, { gpuUuid: a })]);
    expect(one.attributes("MIG-1", a, 600, 120)).toBe(false);
    expect(one.attributes("MIG-2", b, 600, 120)).toBe(true);
  });
});
