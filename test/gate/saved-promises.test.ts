import { describe, expect, it } from "vitest";
import { Failure } from "../../src/engine/failure.ts";
import type { MachineSample } from "../../src/engine/sample.ts";
import { defaultSettings } from "../../src/engine/settings.ts";
import { createState } from "../../src/engine/state.ts";
import { Gate } from "../../src/gate/gate.ts";
import { builtInPolicies } from "../../src/policy/load.ts";
import type { Change, Store } from "../../src/store/store.ts";

const full = new Failure("STATE_UNAVAILABLE", "the disk is full");

/** A disk that writes when the test says so. */
class SlowStore implements Store {
  readonly changes: Change[] = [];
  #open: { resolve(): void; reject(f: Failure): void; written: Promise<void> }[] = [];
  isBroken = false;

  write(change: Change): Promise<void> {
    this.changes.push(change);
    let resolve = () => {};
    let reject: (f: Failure) => void = () => {};
    const written = new Promise<void>((done, failed) => {
      resolve = done;
      reject = failed;
    });
    written.catch(() => {});
    if (this.isBroken) reject(full);
    else this.#open.push({ resolve, reject, written });
    return written;
  }

  pending(): Promise<void> | undefined {
    return this.#open.at(-1)?.written;
  }

  used(): void {}
  learn(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }

  async flush(): Promise<void> {
    for (const { resolve } of this.#open.splice(0)) resolve();
    await turn();
  }

  /** As the journal does: first it is told, then the writes are rejected. */
  async fail(gate: Gate): Promise<void> {
    this.isBroken = true;
    gate.suspend(full.message);
    for (const { reject } of this.#open.splice(0)) reject(full);
    await turn();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function openGate() {
  const store = new SlowStore();
  const state = createState(defaultSettings, builtInPolicies(), "", true);
  let now = 1_000;
  const clock = { now: () => ++now };
  const gate = new Gate(state, clock, { decision() {}, watchProcesses() {}, refresh() {} }, store);
  const measure = () => {
    const at = clock.now();
    const gpu = { uuid: "GPU-0", index: 0, name: "sim", kind: "full" as const, observedAt: at, attribution: true };
    const figures = { totalMb: 10_256, reservedMb: 0, usedMb: 0, freeMb: 10_256, health: "ok" as const, healthMessage: "" };
    const sample: MachineSample = {
      source: "test",
      simulated: true,
      gpus: [{ ...gpu, ...figures }],
      processes: { observedAt: at, list: [] },
      treeRam: new Map(),
      message: "",
    };
    gate.step({ type: "sample", sample });
  };
  measure();
  const submit = (requestId: string, vramMb = 8_000, mode: "wait" | "now" = "wait") =>
    gate.submit({
      mode,
      workload: {
        name: "job",
        tenant: "t",
        priority: 0,
        labels: {},
        requirements: { gpuCount: 1, vramMb, ramMb: 0, gpuUuids: [], exclusive: false },
      },
      requestId,
      policy: "queue",
      hold: "ttl",
    });
  return { gate, store, submit, measure };
}

/** One holds a lease, and one waits for its memory; both are on the disk. */
async function oneHoldsOneWaits(waiterId = "r2") {
  const opened = openGate();
  const first = opened.submit("r1").reply;
  const second = opened.submit(waiterId).reply;
  await opened.store.flush();
  if (first.type !== "lease" || second.type !== "ticket") throw new Error("not as set up");
  return { ...opened, first, second };
}

describe("what is promised", () => {
  it("may be told when it is on the disk, and not before", async () => {
    const { store, submit } = openGate();
    const { reply, saved } = submit("r1");
    expect(reply.type).toBe("lease");
    let isTold = false;
    void saved?.then(() => {
      isTold = true;
    });
    await turn();
    expect(isTold).toBe(false);
    await store.flush();
    expect(isTold).toBe(true);
  });

  it("to somebody who asks again with the same id waits for the same write", async () => {
    const { store, submit } = openGate();
    submit("r1");
    const again = submit("r1");
    expect(again.reply.type).toBe("lease");
    expect(again.saved).toBe(store.pending());
    await store.flush();
    expect(submit("r1").saved).toBeUndefined();
  });

  it("is told to a waiter when it is on the disk", async () => {
    const { gate, store, first, second } = await oneHoldsOneWaits();
    const mailbox = gate.watchTicket(second.ticketId, { hasNews: () => false });
    gate.step({ type: "release", leaseId: first.lease.id, token: 0 });
    expect(gate.leases()).toHaveLength(1);
    await turn();
    expect(mailbox.last).toBeUndefined();
    await store.flush();
    expect(mailbox.last).toMatchObject({ type: "granted" });
  });

  it("to a waiter who goes away while it is written waits for the claim, and is then taken back", async () => {
    const { gate, store, submit, first, second } = await oneHoldsOneWaits();
    const mailbox = gate.watchTicket(second.ticketId, { hasNews: () => false });
    gate.step({ type: "release", leaseId: first.lease.id, token: 0 });
    gate.leaveTicket(second.ticketId, mailbox);
    await store.flush();
    const again = submit("r2").reply;
    expect(again).toMatchObject({ type: "lease", lease: { requestId: "r2" } });
  });

  it("to a waiter without an id who goes away while it is written is free again at once", async () => {
    const { gate, store, first, second } = await oneHoldsOneWaits("");
    const mailbox = gate.watchTicket(second.ticketId, { hasNews: () => false });
    gate.step({ type: "release", leaseId: first.lease.id, token: 0 });
    gate.leaveTicket(second.ticketId, mailbox);
    await store.flush();
    expect(gate.leases()).toEqual([]);
  });
});

describe("what cannot be written down", () => {
  it("is taken back, and its waiter told why: leases, tickets and grants", async () => {
    const { gate, store, submit, first, second } = await oneHoldsOneWaits();
    const granted = gate.watchTicket(second.ticketId, { hasNews: () => false });
    gate.step({ type: "release", leaseId: first.lease.id, token: 0 });
    const third = submit("r3");
    if (third.reply.type !== "ticket") throw new Error("not as set up");
    const queued = gate.watchTicket(third.reply.ticketId, { hasNews: () => false });
    await store.fail(gate);
    expect(granted.last).toEqual({ type: "failed", failure: full });
    expect(queued.last).toEqual({ type: "failed", failure: full });
    await expect(third.saved).rejects.toBe(full);
    expect(gate.leases()).toEqual([]);
    expect(gate.queue()).toMatchObject({ tickets: [], suspended: "the disk is full" });
  });

  it("leaves alone what was written down before: it is held, renewed and given back, and who waits goes on waiting", async () => {
    const { gate, store, measure, first, second } = await oneHoldsOneWaits();
    const mailbox = gate.watchTicket(second.ticketId, { hasNews: () => false });
    await store.fail(gate);
    const { id, token } = first.lease;
    expect(await gate.promise({ type: "renew", leaseId: id, token })).toMatchObject({ id });
    gate.step({ type: "release", leaseId: id, token });
    measure();
    // There is room; but a grant could not be written down.
    expect(mailbox.last).toBeUndefined();
    expect(gate.ticket(second.ticketId)?.reasons[0]).toEqual({ code: "POLICY", message: "the disk is full" });
    store.isBroken = false;
    gate.resume();
    await store.flush();
    expect(mailbox.last).toMatchObject({ type: "granted" });
  });

  it("is refused from then on, with what to do, and nothing is changed by it", async () => {
    const { gate, store, submit } = openGate();
    await store.fail(gate);
    const writes = store.changes.length;
    for (const mode of ["wait", "now"] as const) {
      expect(() => submit("r1", 100, mode)).toThrow(
        expect.objectContaining({ reason: "STATE_UNAVAILABLE", message: "the disk is full" }),
      );
    }
    expect(gate.counts).toEqual({ waiting: 0, leases: 0 });
    expect(store.changes).toHaveLength(writes);
    const { workload } = {
      workload: {
        name: "x",
        tenant: "t",
        priority: 0,
        labels: {},
        requirements: { gpuCount: 1, vramMb: 1, ramMb: 0, gpuUuids: [], exclusive: false },
      },
    };
    expect(gate.explain(workload, "queue")).toMatchObject({
      fitsNow: false,
      reasons: [{ code: "POLICY", message: "the disk is full" }],
    });
  });

  it("still finds a ticket or lease that is written down for who comes back", async () => {
    const { gate, store, submit } = openGate();
    submit("r1");
    submit("r2");
    await store.flush();
    await store.fail(gate);
    expect(submit("r1").reply.type).toBe("lease");
    expect(submit("r2").reply).toMatchObject({ type: "ticket", resumed: true });
  });

  it("is no started execution: whoever asked is told, and can say so again", async () => {
    const { gate, store, submit } = openGate();
    const first = submit("r1").reply;
    await store.flush();
    if (first.type !== "lease") throw new Error("not as set up");
    await store.fail(gate);
    const { id: leaseId, token } = first.lease;
    await expect(gate.promise({ type: "start-execution", leaseId, token, executionId: "e1" })).rejects.toBe(full);
  });
});
