import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Lease,
  type LeasedGpu,
  LeaseState,
  type Reason,
  type Refusal,
  type ResourceRequirements,
} from "#gen/sluice/v1/types_pb.js";
import { age, clean } from "./text.ts";

/** What is needed, in one phrase: "2 GPUs with 6000 MiB each, 8000 MiB of host memory". */
export function needs(resources: ResourceRequirements | undefined): string {
  if (resources === undefined) return "nothing";
  const parts: string[] = [];
  if (resources.requiresGpu) {
    const count = resources.gpuCount || 1;
    const what = count === 1 ? "1 GPU" : `${count} GPUs`;
    const much = resources.minGpuVramMb === 0 ? "" : ` with ${resources.minGpuVramMb} MiB${count === 1 ? "" : " each"}`;
    parts.push(`${what}${much}${resources.exclusiveGpu ? ", not shared" : ""}`);
  }
  if (resources.minSystemRamMb > 0) parts.push(`${resources.minSystemRamMb} MiB of host memory`);
  return parts.length === 0 ? "nothing" : parts.join(", ");
}

/** One reason in one line. */
export function reasonText(reason: Reason): string {
  return clean(reason.message);
}

/** Several reasons in one line. */
export function reasonsText(reasons: readonly Reason[]): string {
  return reasons.map(reasonText).join("; ");
}

/** Several reasons as lines of a list. */
export function reasonLines(reasons: readonly Reason[]): string {
  return reasons.map((reason) => `  - ${reasonText(reason)}\n`).join("");
}

/** A final no: its reasons and what would fit. */
export function refusalText(refusal: Refusal | undefined): string {
  const largest = refusal?.largestThatFits;
  return (
    reasonLines(refusal?.reasons ?? []) +
    (largest === undefined ? "" : `  The largest of this shape that this machine can hold: ${needs(largest)}.\n`)
  );
}

/** The GPUs of a lease: "GPU 0 (6000 MiB), GPU 1 (6000 MiB)". */
export function gpuList(gpus: readonly LeasedGpu[]): string {
  return gpus.map((gpu) => `GPU ${gpu.index} (${gpu.vramMb} MiB)`).join(", ");
}

/** What was granted, in one phrase. */
export function granted(lease: Lease): string {
  const parts = [gpuList(lease.gpus), lease.systemRamMb > 0 ? `${lease.systemRamMb} MiB of host memory` : ""];
  return parts.filter((part) => part !== "").join(" and ") || "nothing but a place";
}

/** The state of a lease as a word. */
export function leaseState(state: LeaseState): string {
  return (LeaseState[state] ?? "UNKNOWN").toLowerCase();
}

/** The age of a moment by this machine's clock. */
export function since(now: number, moment: Parameters<typeof timestampMs>[0] | undefined): string {
  return moment === undefined ? "-" : age(now - timestampMs(moment));
}

/** The time until a moment by this machine's clock. */
export function until(now: number, moment: Parameters<typeof timestampMs>[0] | undefined): string {
  return moment === undefined ? "-" : age(timestampMs(moment) - now);
}

/** A duration of the wire for people. */
export function lasting(duration: Parameters<typeof durationMs>[0] | undefined): string {
  return duration === undefined ? "-" : age(durationMs(duration));
}
