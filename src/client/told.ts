import { durationMs, timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { EvictionRequested, Queued } from "#gen/sluice/v1/scheduler_pb.js";
import type { Reason } from "#gen/sluice/v1/types_pb.js";

/** Where a request stands in the queue. As text it is one line for people. */
export class Waiting {
  /** 1 is next. */
  readonly position: number;
  readonly queueLength: number;
  /** Since it queued, in ms. */
  readonly waitedMs: number;
  /** Why it waits now, with the numbers behind it (MiB). */
  readonly reasons: readonly Reason[];
  /** Until it is thought to start, in ms; undefined where nothing is known that this could rest on. */
  readonly expectedInMs: number | undefined;

  /** @param now this machine's clock, in ms. */
  constructor(queued: Queued, now = Date.now()) {
    this.position = queued.position;
    this.queueLength = Math.max(queued.queueLength, queued.position);
    this.waitedMs = queued.waited === undefined ? 0 : durationMs(queued.waited);
    this.reasons = queued.reasons;
    this.expectedInMs = queued.expectedStart === undefined ? undefined : timestampMs(queued.expectedStart) - now;
  }

  toString(): string {
    const left = this.expectedInMs;
    const start = left === undefined ? "" : left < 1_000 ? " (starts any moment)" : ` (starts in ~ ${age(left)})`;
    const why = this.reasons.map((reason) => reason.message).join("; ");
    return `waiting ${age(this.waitedMs)}, place ${this.position} of ${this.queueLength}${start}: ${why}`;
  }
}

/** Somebody waits for this memory: give it back before the deadline, or the server takes it. */
export interface EvictionRequest {
  /** By the server's clock. */
  readonly deadline: Date;
  /** Who waits, and for how much. */
  readonly reason: string;
}

/** What the server's message means. */
export function evictionFrom(event: EvictionRequested): EvictionRequest {
  return { deadline: event.deadline === undefined ? new Date(0) : timestampDate(event.deadline), reason: event.reason };
}

function age(ms: number): string {
  const s = Math.max(0, Math.trunc(ms / 1000));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.trunc(s / 60)}m ${s % 60}s`;
  return `${Math.trunc(s / 3600)}h ${Math.trunc((s % 3600) / 60)}m`;
}
