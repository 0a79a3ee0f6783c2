import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { AllocateRequestSchema, WaitForResourcesRequestSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { Hold, type WorkloadSchema } from "#gen/sluice/v1/types_pb.js";
import { awayMs } from "./patience.ts";

/** What is needed. A GPU is asked for as soon as anything about GPUs is said. */
export interface Needs {
  /** What the work is called in listings. */
  readonly name?: string | undefined;
  /** GPU memory on each GPU, in MiB. */
  readonly vramMb?: number | undefined;
  /** Host memory, in MiB. */
  readonly ramMb?: number | undefined;
  /** How many GPUs; 1 unless said. */
  readonly gpus?: number | undefined;
  /** Only these GPUs will do, by UUID. */
  readonly gpuUuids?: readonly string[] | undefined;
  /** True: nobody else on these GPUs. */
  readonly exclusive?: boolean | undefined;
  /** Who is asking; "default" unless said. */
  readonly tenant?: string | undefined;
  /** Higher is served first; -1000 to 1000. */
  readonly priority?: number | undefined;
  /** How much it matters against idle workers; one of higher importance is not evicted for it. -1000 to 1000. */
  readonly importance?: number | undefined;
  /** About how long it runs, in ms; who says so can start in gaps that others leave. */
  readonly expectedDurationMs?: number | undefined;
  /** Free-form, shown in listings. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** What is asked for. */
export interface Asked extends Needs {
  /** How long to wait, in ms. The server's default unless said (300 s); 0: for ever. */
  readonly timeoutMs?: number | undefined;
  /** How long the lease lives without renewal, in ms. The server's default unless said (60 s). */
  readonly ttlMs?: number | undefined;
  /** Name of the policy for this one request; the server's unless said. */
  readonly policy?: string | undefined;
  /** Finds the same place or lease again. A fresh one is made for each call unless said. */
  readonly requestId?: string | undefined;
  /** How long the place is kept when the line breaks, in ms. As long as the client tries to come back unless said (60 s). */
  readonly graceMs?: number | undefined;
}

/** The same with an id of its own where it has none: without one a broken connection would cost the place. */
export function named<T extends Asked>(asked: T): T & { readonly requestId: string } {
  return { ...asked, requestId: asked.requestId || newRequestId() };
}

/** An id with which a place in the queue, or an execution, is found again. */
export function newRequestId(): string {
  // Not randomUUID: browsers have that only where a page came over https or from localhost.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `ts-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** The needs as the contract's message. */
export function workloadOf(needs: Needs): MessageInitShape<typeof WorkloadSchema> {
  const { vramMb = 0, gpus = 0, gpuUuids = [], exclusive = false } = needs;
  return {
    name: needs.name ?? "",
    resources: {
      requiresGpu: vramMb > 0 || gpus > 0 || gpuUuids.length > 0 || exclusive,
      minGpuVramMb: vramMb,
      minSystemRamMb: needs.ramMb ?? 0,
      gpuCount: gpus,
      gpuUuids: [...gpuUuids],
      exclusiveGpu: exclusive,
    },
    tenant: needs.tenant ?? "",
    priority: needs.priority ?? 0,
    importance: needs.importance ?? 0,
    labels: { ...needs.labels },
    ...durationField("expectedDuration", needs.expectedDurationMs),
  };
}

/**
 * The message that queues.
 * @param leftMs what is left of the timeout; undefined: the server's default, 0: for ever.
 */
export function waitMessage(asked: Asked, leftMs: number | undefined): MessageInitShape<typeof WaitForResourcesRequestSchema> {
  return { ...common(asked), ...durationField("timeout", leftMs), ...durationField("graceTime", asked.graceMs ?? awayMs) };
}

/** The message that decides now. */
export function allocateMessage(asked: Asked): MessageInitShape<typeof AllocateRequestSchema> {
  return common(asked);
}

function common(asked: Asked) {
  return {
    workload: workloadOf(asked),
    requestId: asked.requestId ?? "",
    policy: asked.policy ?? "",
    hold: Hold.TTL,
    ...durationField("leaseTtl", asked.ttlMs),
  };
}

/** A field with a length of time, or no field when it is not said: not set is not 0. */
export function durationField<Name extends string>(name: Name, ms: number | undefined) {
  return (ms === undefined ? {} : { [name]: durationFromMs(Math.ceil(ms)) }) as {
    [name in Name]?: ReturnType<typeof durationFromMs>;
  };
}
