import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { EstimateBasis as EstimateBasisProto } from "#gen/sluice/v1/types_pb.js";
import { lastMoment } from "../engine/request-limits.ts";
import type { Millis } from "../engine/sample.ts";
import type { EstimateBasis, TicketView } from "../engine/types.ts";

/** As far as a Duration goes. */
const longest: Millis = 315_576_000_000_000;

const estimateBases: Record<EstimateBasis, EstimateBasisProto> = {
  declared: EstimateBasisProto.DECLARED,
  learned: EstimateBasisProto.LEARNED,
};

/** When a ticket starts, at the latest and probably. What is not known is left out, and so is what no calendar has. */
export function estimateToProto(t: Pick<TicketView, "eta" | "expectedStart" | "estimateBasis">): {
  eta?: Timestamp;
  expectedStart?: Timestamp;
  estimateBasis: EstimateBasisProto;
} {
  const { eta, expectedStart, estimateBasis } = t;
  const isKnown = expectedStart !== undefined && expectedStart <= lastMoment;
  return {
    estimateBasis: isKnown && estimateBasis !== undefined ? estimateBases[estimateBasis] : EstimateBasisProto.UNSPECIFIED,
    ...(eta !== undefined && eta <= lastMoment ? { eta: timestampToProto(eta) } : {}),
    ...(isKnown ? { expectedStart: timestampToProto(expectedStart) } : {}),
  };
}

/** The longest duration that can be written as JSON ends it: about 10,000 years. */
export function durationToProto(ms: Millis): Duration {
  const whole = Math.min(longest, Math.max(0, Math.round(ms)));
  return {
    $typeName: "google.protobuf.Duration",
    seconds: BigInt(Math.floor(whole / 1000)),
    nanos: (whole % 1000) * 1_000_000,
  };
}

/** The engine's clock is wall time at start plus monotonic time since: good enough to show, and it never jumps. */
export function timestampToProto(at: Millis): Timestamp {
  const whole = Math.max(0, Math.round(at));
  return {
    $typeName: "google.protobuf.Timestamp",
    seconds: BigInt(Math.floor(whole / 1000)),
    nanos: (whole % 1000) * 1_000_000,
  };
}
