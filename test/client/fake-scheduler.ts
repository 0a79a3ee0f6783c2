import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import {
  SchedulerService,
  type WaitForResourcesRequest,
  type WaitForResourcesResponse,
  WaitForResourcesResponseSchema,
  type WatchLeaseResponse,
} from "#gen/sluice/v1/scheduler_pb.js";
import { type Lease, LeaseSchema, ReasonCode } from "#gen/sluice/v1/types_pb.js";
import { Client } from "../../src/client/client.ts";
import type { Surroundings } from "../../src/client/ground.ts";
import { webDoor } from "../../src/client/web-door.ts";
import { FakeClock } from "./fake-clock.ts";

export const gpu = "GPU-00000000-0000-4000-8000-000000000000";

/** Answers one wait: the turn, from 1, and the signal of the call. */
export type OnWait = (turn: number, signal: AbortSignal) => AsyncIterable<WaitForResourcesResponse>;

/** A server that grants what it is asked for, unless a test says otherwise. */
export class FakeScheduler {
  ttlMs = 60_000;
  readonly waits: WaitForResourcesRequest[] = [];
  /** Every other call, in order, as `ReleaseLease lease-1`. */
  readonly calls: string[] = [];
  renewals = 0;
  readonly watchTokens: bigint[] = [];
  onWait: OnWait = async function* (this: FakeScheduler) {
    yield this.granted();
  }.bind(this);
  onRenew: (signal: AbortSignal) => unknown = () => {};
  onStart: (signal: AbortSignal) => unknown = () => {};
  onAllocate: () => unknown = () => {};
  onCancel: () => unknown = () => {};
  watch: WatchLeaseResponse[] = [];

  lease(): Lease {
    return create(LeaseSchema, {
      id: "lease-1",
      token: 7n,
      gpus: [{ uuid: gpu, index: 0, vramMb: 4096 }],
      ttl: durationFromMs(this.ttlMs),
      env: { CUDA_VISIBLE_DEVICES: gpu, SLUICE_LEASE_ID: "lease-1", SLUICE_ADDRESS: "as-the-server-says:1" },
    });
  }

  queued(position = 1): WaitForResourcesResponse {
    const reasons = [{ code: ReasonCode.INSUFFICIENT_GPU_MEMORY, message: "GPU 0 is full" }];
    return wait({ case: "queued", value: { position, queueLength: 3, reasons } });
  }

  granted(): WaitForResourcesResponse {
    return wait({ case: "granted", value: { lease: this.lease() } });
  }

  readonly scheduler: Partial<ServiceImpl<typeof SchedulerService>> = {
    waitForResources: (request, { signal }) => {
      this.waits.push(request);
      return this.onWait(this.waits.length, signal);
    },
    allocate: async () => {
      await this.onAllocate();
      return { outcome: { case: "lease", value: this.lease() } };
    },
    renewLease: async (_, { signal }) => {
      this.renewals += 1;
      await this.onRenew(signal);
      // As the real one does: without env.
      return { lease: { ...this.lease(), env: {} } };
    },
    releaseLease: async ({ leaseId }) => {
      this.calls.push(`ReleaseLease ${leaseId}`);
      return {};
    },
    cancelTicket: async ({ ticketId }) => {
      this.calls.push(`CancelTicket ${ticketId}`);
      await this.onCancel();
      return {};
    },
    startExecution: async (_, { signal }) => {
      await this.onStart(signal);
      this.calls.push("StartExecution");
      return { executionId: "execution-1" };
    },
    finishExecution: async ({ executionId }) => {
      this.calls.push(`FinishExecution ${executionId}`);
      return {};
    },
    attachProcess: async ({ pid }) => {
      this.calls.push(`AttachProcess ${pid}`);
      return {};
    },
    watchLease: (request, { signal }) => this.#watched(request.token, signal),
  };

  /** A client of it, in this process, on a clock of the test's own. */
  client(more: Partial<Surroundings> = {}, executor: Partial<ServiceImpl<typeof ExecutorService>> = {}) {
    const clock = new FakeClock();
    const warnings: string[] = [];
    const transport = createRouterTransport(({ service }) => {
      service(SchedulerService, this.scheduler);
      service(ExecutorService, executor);
    });
    const surroundings = { clock, pid: undefined, environment: undefined, warn: (text: string) => void warnings.push(text) };
    return { client: new Client(webDoor(transport), { ...surroundings, ...more }), clock, warnings };
  }

  async *#watched(token: bigint, signal: AbortSignal): AsyncGenerator<WatchLeaseResponse> {
    this.watchTokens.push(token);
    yield* this.watch.splice(0);
    await gone(signal);
  }
}

/** Until the client is gone. */
export function gone(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}

type Init = Exclude<Parameters<typeof create<typeof WaitForResourcesResponseSchema>>[1], undefined>;

function wait(event: NonNullable<Init["event"]>): WaitForResourcesResponse {
  return create(WaitForResourcesResponseSchema, { ticketId: "ticket-1", event } as Init);
}
