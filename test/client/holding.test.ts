import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type WatchLeaseResponse, WatchLeaseResponseSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { LeaseLost } from "../../src/client/errors.ts";
import type { EvictionRequest } from "../../src/client/told.ts";
import { settled } from "./fake-clock.ts";
import { FakeScheduler, gone, gpu } from "./fake-scheduler.ts";

const need = { vramMb: 4096 };

function watched(event: WatchLeaseResponse["event"]): WatchLeaseResponse {
  const message = create(WatchLeaseResponseSchema);
  message.event = event;
  return message;
}

const asked = () => {
  const message = create(WatchLeaseResponseSchema, {
    event: { case: "evictionRequested", value: { reason: "somebody needs 8,000 MiB", deadline: timestampFromMs(5_000) } },
  });
  return watched(message.event);
};
const ended = (why: LeaseEnd) => {
  const message = create(WatchLeaseResponseSchema, { event: { case: "ended", value: { why } } });
  return watched(message.event);
};

it("a lease is renewed at once and then three times in its time to live", async () => {
  const server = new FakeScheduler();
  const { client, clock } = server.client();
  const lease = await client.resources(need);
  await settled();
  expect(server.renewals).toBe(1);
  await clock.advance(59_000);
  expect(server.renewals).toBe(3);
  await clock.advance(1_000);
  expect(server.renewals).toBe(4);
  expect(lease.lost).toBe(false);
  expect(lease.signal.aborted).toBe(false);
  await lease.release();
  await clock.advance(120_000);
  expect(server.renewals).toBe(4);
});

it("what is renewed still has the environment of the grant, which a renewal does not tell", async () => {
  const server = new FakeScheduler();
  const { client } = server.client();
  const lease = await client.resources(need);
  await settled();
  expect(lease.message.env).toEqual({});
  expect(lease.env.CUDA_VISIBLE_DEVICES).toBe(gpu);
});

it("renewal gives up by its own clock before the time to live is over, counted from before the last that succeeded was sent", async () => {
  const server = new FakeScheduler();
  const { client, clock, warnings } = server.client();
  const lost: { why: string; at: number }[] = [];
  const lease = await client.resources({ ...need, onLost: (_, why) => lost.push({ why, at: clock.now() }) });
  await settled();
  const renewedAt = clock.now();
  server.onRenew = (signal) => gone(signal);
  await clock.advance(57_999);
  expect(lost).toEqual([]);
  expect(lease.signal.aborted).toBe(false);
  await clock.advance(1);
  expect(lost).toEqual([{ why: "the server could not be reached in time to renew it", at: renewedAt + 58_000 }]);
  expect(lease.signal.reason).toBeInstanceOf(LeaseLost);
  expect(lease.whyLost).toContain("could not be reached");
  // One line when trouble begins, one when it is over.
  expect(warnings).toHaveLength(2);
  expect(warnings[0]).toContain("did not answer within 5 s");
  expect(warnings[1]).toContain("lease-1 is lost");
  // What is lost is not ours to give back.
  await lease.release();
  expect(server.calls).not.toContain("ReleaseLease lease-1");
});

it("a renewal that fails is tried again within a second, and the lease is kept", async () => {
  const server = new FakeScheduler();
  const { client, clock, warnings } = server.client();
  const lease = await client.resources(need);
  await settled();
  let failures = 0;
  server.onRenew = () => {
    failures += 1;
    if (failures <= 3) throw new ConnectError("away", Code.Unavailable);
  };
  await clock.advance(20_000 + 3_000);
  expect(failures).toBe(4);
  expect(lease.lost).toBe(false);
  expect(warnings).toHaveLength(1);
  await clock.advance(120_000);
  expect(lease.lost).toBe(false);
});

it("a server that says that the lease is gone is believed at once", async () => {
  const server = new FakeScheduler();
  const { client, clock } = server.client();
  const lease = await client.resources(need);
  await settled();
  server.onRenew = () => {
    const error = new ConnectError("the lease has ended", Code.NotFound);
    error.details = [{ desc: ErrorInfoSchema, value: { reason: "LEASE_EXPIRED", domain: "sluice" } }];
    throw error;
  };
  await clock.advance(20_000);
  expect(lease.lost).toBe(true);
  expect(() => lease.signal.throwIfAborted()).toThrow("the lease lease-1 is lost: the lease has ended");
});

it("an end that the server tells is a loss at once, and events of a newer server are passed over", async () => {
  const server = new FakeScheduler();
  server.watch = [create(WatchLeaseResponseSchema), ended(LeaseEnd.EVICTED)];
  const { client } = server.client();
  const lease = await client.resources(need);
  await settled();
  expect(lease.whyLost).toBe("it was taken for somebody who waited");
});

it("a lease is in use until it is given back, and this process is attached where the server knows its pid", async () => {
  const server = new FakeScheduler();
  const lease = await server.client({ pid: 4711 }).client.resources(need);
  expect([...server.calls].sort()).toEqual(["AttachProcess 4711", "StartExecution"]);
  // It only looks on: it cannot be asked to give the memory back.
  await settled();
  expect(server.watchTokens).toEqual([0n]);
  await lease.release();
  expect(server.calls.slice(2)).toEqual(["FinishExecution execution-1", "ReleaseLease lease-1"]);
});

it("attach: false attaches nothing", async () => {
  const server = new FakeScheduler();
  await server.client({ pid: 4711 }).client.resources({ ...need, attach: false });
  expect(server.calls).toEqual(["StartExecution"]);
});

it("giving back twice, and by await using, is one call", async () => {
  const server = new FakeScheduler();
  const { client } = server.client();
  {
    await using lease = await client.resources(need);
    await Promise.all([lease.release(), lease.release()]);
  }
  expect(server.calls.filter((call) => call === "ReleaseLease lease-1")).toHaveLength(1);
});

it("a request to give back calls the program, which may do so from there", async () => {
  const server = new FakeScheduler();
  server.watch = [asked()];
  const { client } = server.client();
  const heard: EvictionRequest[] = [];
  const lease = await client.resources({
    ...need,
    onEviction: async (held, request) => {
      heard.push(request);
      expect(held.evictionRequested).toBe(request);
      await held.release();
    },
  });
  await settled();
  expect(heard).toEqual([{ reason: "somebody needs 8,000 MiB", deadline: new Date(5_000) }]);
  expect(server.calls).toEqual(["ReleaseLease lease-1"]);
  expect(lease.lost).toBe(false);
  // It listened with its token.
  expect(server.watchTokens).toEqual([7n]);
});

it("work on a lease that can be asked back is counted, also when it fails", async () => {
  const server = new FakeScheduler();
  const { client } = server.client();
  const lease = await client.resources({ ...need, onEviction: () => {} });
  const work = lease.executing(() => {
    expect(server.calls).toEqual(["StartExecution"]);
    throw new RangeError("mine");
  });
  await expect(work).rejects.toThrow(RangeError);
  expect(server.calls).toEqual(["StartExecution", "FinishExecution execution-1"]);
});

it("a callback that fails is warned of and does not end the renewals", async () => {
  for (const onEviction of [() => Promise.reject(new Error("mine")), () => JSON.parse("{")]) {
    const server = new FakeScheduler();
    server.watch = [asked()];
    const { client, clock, warnings } = server.client();
    await client.resources({ ...need, onEviction });
    await clock.advance(60_000);
    expect(server.renewals).toBe(4);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("a callback of the program failed");
  }
});

it("a client that is closed too early is a lost lease and no exception", async () => {
  const server = new FakeScheduler();
  const { client } = server.client();
  const lease = await client.resources(need);
  client.close();
  expect(lease.whyLost).toContain("its client was closed");
  await lease.release();
  await expect(client.explain(need)).rejects.toThrow("the client is closed");
});

it("a watch that broke is opened again", async () => {
  const server = new FakeScheduler();
  let turns = 0;
  server.scheduler.watchLease = async function* () {
    turns += 1;
    yield create(WatchLeaseResponseSchema);
    throw new ConnectError("away", Code.Unavailable);
  };
  const { client, clock } = server.client();
  await client.resources(need);
  await clock.advance(1_200);
  expect(turns).toBe(3);
});

it("a lease that cannot be used is given back, and the error comes out", async () => {
  const server = new FakeScheduler();
  server.onStart = () => {
    throw new ConnectError("broken", Code.Internal);
  };
  await expect(server.client().client.resources(need)).rejects.toThrow("broken");
  expect(server.calls).toEqual(["ReleaseLease lease-1"]);
});

it("a server that swallows a call is told after the limit, by name", async () => {
  const server = new FakeScheduler();
  server.onStart = (signal) => gone(signal);
  const { client, clock } = server.client();
  const lease = client.resources(need);
  lease.catch(() => {});
  await clock.advance(9_900);
  expect(server.calls).toEqual([]);
  await clock.advance(100);
  await expect(lease).rejects.toMatchObject({
    name: "Unreachable",
    message: expect.stringMatching(/the server at .* did not answer within 10 s/),
  });
  // The fake's StartExecution goes on when its call is cancelled, and only then.
  await settled();
  expect([...server.calls].sort()).toEqual(["ReleaseLease lease-1", "StartExecution"]);
});

it("setEnvironment sets what the lease says, puts back what was there, and leaves alone what the program has changed", async () => {
  const server = new FakeScheduler();
  const environment: Record<string, string | undefined> = { CUDA_VISIBLE_DEVICES: "3", OTHER: "1" };
  const { client } = server.client({ environment });
  const first = await client.resources({ ...need, setEnvironment: true });
  expect(environment).toMatchObject({ CUDA_VISIBLE_DEVICES: gpu, SLUICE_LEASE_ID: "lease-1", OTHER: "1" });
  await first.release();
  expect(environment).toEqual({ CUDA_VISIBLE_DEVICES: "3", OTHER: "1" });
  const second = await client.resources({ ...need, setEnvironment: true });
  environment.CUDA_VISIBLE_DEVICES = "mine";
  await second.release();
  expect(environment).toEqual({ CUDA_VISIBLE_DEVICES: "mine", OTHER: "1" });
});

it("without setEnvironment the process's own environment stays as it is, and where there is none it is refused", async () => {
  const server = new FakeScheduler();
  const environment = {};
  await server.client({ environment }).client.resources(need);
  expect(environment).toEqual({});
  await expect(server.client().client.resources({ ...need, setEnvironment: true })).rejects.toThrow("setEnvironment");
});
