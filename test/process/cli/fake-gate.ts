import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { WaitForResourcesRequest } from "#gen/sluice/v1/scheduler_pb.js";
import type { LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { ReasonCode } from "#gen/sluice/v1/types_pb.js";
import { Failure } from "../../../src/engine/failure.ts";
import { type FakeServer, type FakeServices, startFakeServer } from "../../cli/fake-server.ts";

/** What the fake gate does about a request. */
export interface GateOptions {
  /** Reasons told before anything else, one Queued message each. */
  readonly queued?: readonly string[];
  /** Granted unless it says otherwise; "wait": not until `grant` is called. */
  readonly outcome?: "grant" | "wait" | "refuse" | "time-out" | "queue-full" | "drop-once";
  readonly ttlMs?: number;
  /** How renewals fail. */
  readonly renewal?: () => Error | undefined;
  readonly attach?: () => Error | undefined;
}

export interface FakeGate extends FakeServer {
  grant(): void;
  /** Names of the rpcs called so far. */
  names(): readonly string[];
  requests<T>(rpc: string): readonly T[];
  /** Tells the holder through WatchLease. */
  tellHolder(
    event: { case: "evictionRequested"; value: { reason: string } } | { case: "ended"; value: { why: LeaseEnd } },
  ): void;
  /** Streams of WaitForResources that were cancelled by their client. */
  readonly cancelled: number;
}

const reason = (message: string) => ({ code: ReasonCode.INSUFFICIENT_GPU_MEMORY, message });

/** A scheduler that knows one lease, `lease-1` with token 7, and grants it as a test wishes. */
export async function startFakeGate(options: GateOptions = {}): Promise<FakeGate> {
  let grant = () => {};
  const mayGrant = new Promise<void>((resolve) => {
    grant = resolve;
  });
  let cancelled = 0;
  let dropped = false;
  const listeners = new Set<(event: never) => void>();
  const throwing = (failure: Error | undefined) => {
    if (failure !== undefined) throw failure;
  };

  const lease = (address: string) => ({
    id: "lease-1",
    token: 7n,
    gpus: [{ uuid: "GPU-a", index: 0, vramMb: 6000 }],
    ttl: durationFromMs(options.ttlMs ?? 60_000),
    env: { CUDA_VISIBLE_DEVICES: "GPU-a", SLUICE_LEASE_ID: "lease-1", SLUICE_LEASE_TOKEN: "7", SLUICE_ADDRESS: address },
  });

  const scheduler: NonNullable<FakeServices["scheduler"]> = {
    async *waitForResources(request: WaitForResourcesRequest, { signal }) {
      const head = { ticketId: "ticket-1", requestId: request.requestId };
      if (options.outcome === "queue-full") throw new Failure("QUEUE_FULL", "10000 requests wait already; try again later.");
      for (const [i, message] of (options.queued ?? []).entries()) {
        yield {
          ...head,
          event: { case: "queued" as const, value: { position: 3 - i, queueLength: 7, reasons: [reason(message)] } },
        };
      }
      if (options.outcome === "refuse") {
        const refusal = {
          reasons: [reason("40000 MiB do not fit on any GPU.")],
          largestThatFits: { requiresGpu: true, minGpuVramMb: 23000 },
        };
        yield { ...head, event: { case: "refused" as const, value: { refusal } } };
        return;
      }
      if (options.outcome === "time-out") {
        yield {
          ...head,
          event: { case: "timedOut" as const, value: { waited: durationFromMs(61_000), reasons: [reason("GPU 0 is full.")] } },
        };
        return;
      }
      if (options.outcome === "drop-once" && !dropped) {
        dropped = true;
        throw new Failure("DRAINING", "The server is shutting down.");
      }
      if (options.outcome === "wait") {
        const gone = new Promise<"gone">((resolve) => signal.addEventListener("abort", () => resolve("gone")));
        if ((await Promise.race([mayGrant, gone])) === "gone") {
          cancelled++;
          return;
        }
      }
      yield { ...head, event: { case: "granted" as const, value: { lease: lease(server.address) } } };
    },
    startExecution: () => ({ executionId: "execution-1" }),
    finishExecution: () => ({}),
    attachProcess: () => {
      throwing(options.attach?.());
      return { lease: lease(server.address) };
    },
    renewLease: () => {
      throwing(options.renewal?.());
      return { lease: lease(server.address) };
    },
    releaseLease: () => ({ lease: lease(server.address) }),
    cancelTicket: () => ({}),
    async *watchLease(_request, { signal }) {
      const events: never[] = [];
      let wake = () => {};
      const listener = (event: never) => {
        events.push(event);
        wake();
      };
      listeners.add(listener);
      signal.addEventListener("abort", () => wake());
      yield { event: { case: "snapshot" as const, value: { lease: lease(server.address) } } };
      while (!signal.aborted) {
        for (const event of events.splice(0)) yield { event };
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      listeners.delete(listener);
    },
  };
  const server = await startFakeServer({ scheduler });
  return {
    ...server,
    grant: () => grant(),
    names: () => server.calls.map((call) => call.rpc),
    requests: <T>(rpc: string) => server.calls.filter((call) => call.rpc === rpc).map((call) => call.request as T),
    tellHolder: (event) => {
      for (const listener of listeners) listener(event as never);
    },
    get cancelled() {
      return cancelled;
    },
  };
}
