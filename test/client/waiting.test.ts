import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { WaitForResourcesResponseSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { ReasonCode } from "#gen/sluice/v1/types_pb.js";
import { NeverFits, TimedOut, Unreachable } from "../../src/client/errors.ts";
import type { Waiting } from "../../src/client/told.ts";
import { settled } from "./fake-clock.ts";
import { FakeScheduler, gone } from "./fake-scheduler.ts";

const need = { vramMb: 4096 };

function away(): never {
  throw new ConnectError("away", Code.Unavailable);
}

it("what is asked for is the contract's message", async () => {
  const server = new FakeScheduler();
  await server.client().client.resources({
    name: "a",
    vramMb: 5,
    ramMb: 6,
    gpus: 2,
    tenant: "t",
    priority: 3,
    labels: { k: "v" },
    ttlMs: 2_500,
    graceMs: 45_000,
    expectedDurationMs: 1_500,
  });
  const [wait] = server.waits;
  expect(wait?.workload).toMatchObject({ name: "a", tenant: "t", priority: 3, labels: { k: "v" } });
  expect(wait?.workload?.resources).toMatchObject({ requiresGpu: true, minGpuVramMb: 5, minSystemRamMb: 6, gpuCount: 2 });
  expect(wait?.leaseTtl && durationMs(wait.leaseTtl)).toBe(2_500);
  expect(wait?.graceTime && durationMs(wait.graceTime)).toBe(45_000);
  expect(wait?.workload?.expectedDuration && durationMs(wait.workload.expectedDuration)).toBe(1_500);
  // Not set is not 0, which would mean for ever.
  expect(wait?.timeout).toBeUndefined();
});

it("host memory alone asks for no GPU", async () => {
  const server = new FakeScheduler();
  await server.client().client.resources({ ramMb: 100 });
  expect(server.waits[0]?.workload?.resources?.requiresGpu).toBe(false);
  // Its place is kept for as long as it would try to come back.
  expect(server.waits[0]?.graceTime && durationMs(server.waits[0].graceTime)).toBe(60_000);
});

it("a broken stream is opened again with the same request id and with what is left of the time", async () => {
  const server = new FakeScheduler();
  server.onWait = async function* (turn) {
    yield server.queued();
    if (turn === 1) away();
    yield server.granted();
  };
  const { client, clock } = server.client();
  const lease = client.resources({ ...need, timeoutMs: 50_000 });
  await clock.advance(100);
  await lease;
  expect(server.waits).toHaveLength(2);
  expect(server.waits[0]?.requestId).toMatch(/^ts-[0-9a-f]{32}$/);
  expect(server.waits[1]?.requestId).toBe(server.waits[0]?.requestId);
  expect(server.waits.map(({ timeout }) => timeout && durationMs(timeout))).toEqual([50_000, 49_900]);
});

it("each request has an id of its own, unless the program names one", async () => {
  const server = new FakeScheduler();
  const { client } = server.client();
  for (const requestId of [undefined, undefined, "mine"]) await client.resources({ ...need, requestId });
  const ids = server.waits.map((wait) => wait.requestId);
  expect(new Set(ids).size).toBe(3);
  expect(ids[2]).toBe("mine");
});

it("a server that has answered may be away for a minute, and no longer", async () => {
  const server = new FakeScheduler();
  server.onWait = async function* (turn) {
    if (turn > 1) away();
    yield server.queued();
    away();
  };
  const { client, clock } = server.client();
  let failure: unknown;
  client.resources(need).catch((error: unknown) => {
    failure = error;
  });
  await clock.advance(59_000);
  expect(failure).toBeUndefined();
  // Asked about once a second, after quick tries at the beginning.
  expect(server.waits.length).toBeGreaterThan(55);
  expect(server.waits.length).toBeLessThan(70);
  await clock.advance(3_000);
  expect(failure).toBeInstanceOf(Unreachable);
});

it("nobody at the address is told after a few seconds, not never", async () => {
  const server = new FakeScheduler();
  server.onWait = async function* (turn) {
    if (turn > 0) away();
    yield server.granted();
  };
  const { client, clock } = server.client();
  let failure: unknown;
  client.resources(need).catch((error: unknown) => {
    failure = error;
  });
  await clock.advance(4_900);
  expect(failure).toBeUndefined();
  await clock.advance(2_000);
  expect(failure).toBeInstanceOf(Unreachable);
});

it("a stream that says nothing for too long is opened anew", async () => {
  const server = new FakeScheduler();
  server.onWait = async function* (turn, signal) {
    yield server.queued();
    if (turn === 1) await gone(signal);
    yield server.granted();
  };
  const { client, clock } = server.client();
  const lease = client.resources(need);
  await clock.advance(44_000);
  expect(server.waits).toHaveLength(1);
  await clock.advance(2_000);
  expect((await lease).token).toBe(7n);
});

it("events of a newer server are passed over", async () => {
  const server = new FakeScheduler();
  server.onWait = async function* () {
    yield create(WaitForResourcesResponseSchema);
    yield server.granted();
  };
  expect((await server.client().client.resources(need)).token).toBe(7n);
});

it("progress is told with place and reasons, and as one line for people", async () => {
  const server = new FakeScheduler();
  server.onWait = async function* () {
    yield server.queued(2);
    yield server.queued(1);
    yield server.granted();
  };
  const places: Waiting[] = [];
  await server.client().client.resources({ ...need, onProgress: (waiting) => places.push(waiting) });
  expect(places.map(({ position }) => position)).toEqual([2, 1]);
  expect(places[0]?.reasons[0]?.code).toBe(ReasonCode.INSUFFICIENT_GPU_MEMORY);
  expect(`${places[0]}`).toBe("waiting 0s, place 2 of 3: GPU 0 is full");
});

it("a wait that is cancelled leaves the queue, and the program's own reason comes out", async () => {
  const server = new FakeScheduler();
  const stop = new AbortController();
  server.onWait = async function* (_, signal) {
    yield server.queued();
    await gone(signal);
  };
  server.onCancel = () => {};
  const { client, clock } = server.client();
  const lease = client.resources({ ...need, signal: stop.signal });
  lease.catch(() => {});
  await settled();
  stop.abort(new RangeError("not today"));
  await settled();
  expect(server.calls).toEqual(["CancelTicket ticket-1"]);
  // A server that does not end the stream is not waited for.
  await clock.advance(1_000);
  await expect(lease).rejects.toThrow(new RangeError("not today"));
});

it("a wait that is cancelled before the server has said anything leaves the queue all the same", async () => {
  const server = new FakeScheduler();
  const stop = new AbortController();
  let speak = () => {};
  const silence = new Promise<void>((resolve) => {
    speak = resolve;
  });
  server.onWait = async function* (_, signal) {
    await silence;
    yield server.queued();
    await gone(signal);
  };
  const { client, clock } = server.client();
  const lease = client.resources({ ...need, signal: stop.signal });
  lease.catch(() => {});
  await settled();
  stop.abort();
  await settled();
  expect(server.calls).toEqual([]);
  speak();
  await settled();
  expect(server.calls).toEqual(["CancelTicket ticket-1"]);
  await clock.advance(1_000);
  await expect(lease).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
});

it("a grant that arrives after the wait was cancelled is given back", async () => {
  const server = new FakeScheduler();
  const stop = new AbortController();
  server.onWait = async function* () {
    yield server.queued();
    await new Promise<void>((resolve) => stop.signal.addEventListener("abort", () => resolve()));
    yield server.granted();
  };
  const { client } = server.client();
  const lease = client.resources({ ...need, signal: stop.signal });
  lease.catch(() => {});
  await settled();
  stop.abort();
  await expect(lease).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
  expect(server.calls).toContain("ReleaseLease lease-1");
  expect(server.calls).not.toContain("StartExecution");
});

it("a wait that is cancelled while the lease is begun gives it back", async () => {
  const server = new FakeScheduler();
  const stop = new AbortController();
  server.onStart = (signal) => {
    stop.abort();
    return gone(signal);
  };
  await expect(server.client().client.resources({ ...need, signal: stop.signal })).rejects.toThrow(
    expect.objectContaining({ name: "AbortError" }),
  );
  expect(server.calls).toContain("ReleaseLease lease-1");
});

it("a decision that is cancelled while it is made is given back when it was a grant", async () => {
  const server = new FakeScheduler();
  const stop = new AbortController();
  let decide = () => {};
  server.onAllocate = () =>
    new Promise<void>((resolve) => {
      decide = resolve;
    });
  const lease = server.client().client.resources({ ...need, wait: false, signal: stop.signal });
  lease.catch(() => {});
  await settled();
  stop.abort();
  await expect(lease).rejects.toThrow(expect.objectContaining({ name: "AbortError" }));
  decide();
  await settled();
  expect(server.calls).toEqual(["ReleaseLease lease-1"]);
});

it("a signal that is aborted already asks for nothing", async () => {
  const server = new FakeScheduler();
  for (const wait of [true, false])
    await expect(server.client().client.resources({ ...need, wait, signal: AbortSignal.abort() })).rejects.toThrow();
  expect(server.waits).toEqual([]);
});

it("progress that fails ends the wait, and the request leaves the queue", async () => {
  for (const onProgress of [() => JSON.parse("{"), () => Promise.reject(new SyntaxError("mine"))]) {
    const server = new FakeScheduler();
    server.onWait = async function* (_, signal) {
      yield server.queued();
      await gone(signal);
    };
    const { client, clock } = server.client();
    const lease = client.resources({ ...need, onProgress });
    lease.catch(() => {});
    await clock.advance(1_000);
    await expect(lease).rejects.toThrow(SyntaxError);
    expect(server.calls).toEqual(["CancelTicket ticket-1"]);
  }
});

it("a client that is closed ends a wait without a word to the server", async () => {
  const server = new FakeScheduler();
  server.onWait = async function* (_, signal) {
    yield server.queued();
    await gone(signal);
  };
  const { client } = server.client();
  const lease = client.resources(need);
  lease.catch(() => {});
  await settled();
  client.close();
  await expect(lease).rejects.toThrow("the client is closed");
  expect(server.calls).toEqual([]);
});

it("a refusal and a wait in vain are errors with reasons and numbers", async () => {
  const server = new FakeScheduler();
  const reasons = [{ code: ReasonCode.NEVER_FITS, message: "it can never fit", neededMb: 30_000 }];
  server.onWait = async function* () {
    const refusal = { reasons, largestThatFits: { requiresGpu: true, minGpuVramMb: 24_084 } };
    yield create(WaitForResourcesResponseSchema, { event: { case: "refused", value: { refusal } } });
  };
  const refused: unknown = await server
    .client()
    .client.resources(need)
    .catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(NeverFits);
  expect(refused).toMatchObject({
    name: "NeverFits",
    message: "it can never fit",
    reasons: [{ neededMb: 30_000 }],
    largestThatFits: { minGpuVramMb: 24_084 },
  });
  server.onWait = async function* () {
    const value = { waited: { seconds: 2n, nanos: 500_000_000 }, reasons };
    yield create(WaitForResourcesResponseSchema, { event: { case: "timedOut", value } });
  };
  const late: unknown = await server
    .client()
    .client.resources(need)
    .catch((error: unknown) => error);
  expect(late).toBeInstanceOf(TimedOut);
  expect(late).toMatchObject({ waitedMs: 2_500, message: "waited 2.5 s in vain: it can never fit" });
});
