import type { MessageInitShape } from "@bufbuild/protobuf";
import { fromJson, toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import {
  AllocateRequestSchema,
  type AllocateResponse,
  AllocateResponseSchema,
  type SchedulerService,
  type WaitForResourcesRequestSchema,
  type WaitForResourcesResponse,
} from "#gen/sluice/v1/scheduler_pb.js";
import { type Lease, type Reason, ReasonCode, type WorkloadSchema } from "#gen/sluice/v1/types_pb.js";
import type { Server } from "./server.ts";

export type Scheduler = Client<typeof SchedulerService>;

/** A workload that needs so much memory on each of its GPUs. */
export function gpuWork(
  vramMb: number,
  more: { name?: string; gpuCount?: number; gpuUuids?: string[]; priority?: number; tenant?: string } = {},
): MessageInitShape<typeof WorkloadSchema> {
  const { name = "job", gpuCount = 1, gpuUuids = [], ...rest } = more;
  return { name, ...rest, resources: { requiresGpu: true, minGpuVramMb: vramMb, gpuCount, gpuUuids } };
}

/** Allocate by policy `safety`, over gRPC. Answers the lease, or undefined for a refusal. */
export async function allocate(scheduler: Scheduler, vramMb: number, policy = "safety"): Promise<Lease | undefined> {
  const { outcome } = await scheduler.allocate({ workload: gpuWork(vramMb), policy });
  return outcome.case === "lease" ? outcome.value : undefined;
}

/** The same over the web door: Connect JSON, as a browser or curl sends it. */
export async function allocateOverWeb(server: Server, vramMb: number, policy = "safety"): Promise<Lease | undefined> {
  const body = toJson(AllocateRequestSchema, {
    $typeName: "sluice.v1.AllocateRequest",
    requestId: "",
    hold: 0,
    policy,
    workload: {
      $typeName: "sluice.v1.Workload",
      name: "web",
      tenant: "",
      priority: 0,
      importance: 0,
      labels: {},
      resources: {
        $typeName: "sluice.v1.ResourceRequirements",
        requiresGpu: true,
        minGpuVramMb: vramMb,
        minSystemRamMb: 0,
        gpuCount: 1,
        gpuUuids: [],
        exclusiveGpu: false,
      },
    },
  });
  const response = await fetch(`${server.web}/sluice.v1.SchedulerService/Allocate`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const answer: AllocateResponse = fromJson(AllocateResponseSchema, await response.json());
  return answer.outcome.case === "lease" ? answer.outcome.value : undefined;
}

type Event = NonNullable<WaitForResourcesResponse["event"]["case"]>;

/** A request that waits, with everything that it was told so far. */
export class Waiter {
  readonly messages: WaitForResourcesResponse[] = [];
  /** performance.now() at the arrival of each message. */
  readonly arrivals: number[] = [];
  /** Resolves at the end of the stream, whatever the end is. */
  readonly over: Promise<void>;
  error: ConnectError | undefined;
  readonly #cancel = new AbortController();

  constructor(
    scheduler: Scheduler,
    vramMb: number,
    more: Omit<MessageInitShape<typeof WaitForResourcesRequestSchema>, "$typeName"> = {},
  ) {
    const request = { workload: gpuWork(vramMb), timeout: durationFromMs(60_000), ...more };
    this.over = this.#read(scheduler.waitForResources(request, { signal: this.#cancel.signal }));
  }

  async #read(stream: AsyncIterable<WaitForResourcesResponse>): Promise<void> {
    try {
      for await (const message of stream) {
        this.messages.push(message);
        this.arrivals.push(performance.now());
      }
    } catch (error) {
      this.error = ConnectError.from(error);
    }
  }

  /** Goes away as a client does whose user presses Ctrl-C. */
  cancel(): void {
    this.#cancel.abort();
  }

  /** The newest event; undefined before the first. */
  get last(): Event | undefined {
    return this.messages.at(-1)?.event.case;
  }

  get ticketId(): string {
    return this.messages.at(-1)?.ticketId ?? "";
  }

  get position(): number | undefined {
    const event = this.messages.at(-1)?.event;
    return event?.case === "queued" ? event.value.position : undefined;
  }

  get lease(): Lease | undefined {
    const event = this.messages.find((m) => m.event.case === "granted")?.event;
    return event?.case === "granted" ? event.value.lease : undefined;
  }

  /** performance.now() when the grant arrived. */
  get grantedAt(): number | undefined {
    return this.arrivals[this.messages.findIndex((m) => m.event.case === "granted")];
  }

  /** The current reasons, while it waits or when it was refused. */
  get reasons(): readonly Reason[] {
    const event = this.messages.at(-1)?.event;
    if (event?.case === "queued" || event?.case === "timedOut") return event.value.reasons;
    return event?.case === "refused" ? (event.value.refusal?.reasons ?? []) : [];
  }

  get codes(): readonly string[] {
    return codesOf(this.reasons);
  }

  /** The first reason of each message so far, while it waited. */
  get firstCodes(): readonly (string | undefined)[] {
    return this.messages.map(({ event }) => (event.case === "queued" ? codesOf(event.value.reasons)[0] : undefined));
  }
}

export function codesOf(reasons: readonly Reason[]): readonly string[] {
  return reasons.map((r) => ReasonCode[r.code]);
}

/** What an error says besides its status: ErrorInfo.reason, the fields of BadRequest, and whether a retry is advised. */
export function detailsOf(error: ConnectError) {
  return {
    reason: error.findDetails(ErrorInfoSchema)[0]?.reason,
    fields: error.findDetails(BadRequestSchema).flatMap((b) => b.fieldViolations.map((v) => v.field)),
    retry: error.findDetails(RetryInfoSchema).length > 0,
  };
}
