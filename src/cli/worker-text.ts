import { type Breaker, BreakerState, type MemoryProfile, type Plugin, ResidentState } from "#gen/sluice/v1/executor_pb.js";
import type { ResourceRequirements } from "#gen/sluice/v1/types_pb.js";
import { mib } from "../engine/mib.ts";
import { since, until } from "./describe-work.ts";
import { clean, orDash } from "./text.ts";

/** The state of a resident worker as a word. */
export function residentWord(state: ResidentState): string {
  return (ResidentState[state] ?? "unknown").toLowerCase().replaceAll("_", " ");
}

/** The worker of a plugin in one phrase: "in use (2)", "idle 12s", "dead, broken for 2m05s". Empty when there is nothing to say. */
export function workerText(plugin: Plugin, now: number): string {
  return [stateText(plugin, now), breakerText(plugin.breaker, now)].filter((part) => part !== "").join(", ");
}

/** True when the plugin has a worker, or would have one if that did not fail. */
export function hasWorker(plugin: Plugin): boolean {
  return workerText(plugin, 0) !== "";
}

function stateText({ resident, worker }: Plugin, now: number): string {
  switch (resident) {
    case ResidentState.UNSPECIFIED:
      return "";
    case ResidentState.IN_USE:
      return worker === undefined ? "in use" : `in use (${worker.executions})`;
    case ResidentState.IDLE:
      return worker?.idleSince === undefined ? "idle" : `idle ${since(now, worker.idleSince)}`;
    default:
      return residentWord(resident);
  }
}

function breakerText(breaker: Breaker | undefined, now: number): string {
  const next = breaker?.nextAttemptAt;
  switch (breaker?.state) {
    case BreakerState.BACKING_OFF:
      return next === undefined ? "failed" : `failed, again in ${until(now, next)}`;
    case BreakerState.OPEN:
      return next === undefined ? "broken" : `broken for ${until(now, next)}`;
    case BreakerState.HALF_OPEN:
      return "tried once more";
    default:
      return "";
  }
}

/** What keeps workers from starting, a line for each plugin. */
export function breakerLines(plugins: readonly Plugin[]): string {
  return plugins
    .filter((plugin) => (plugin.breaker?.failures ?? 0) > 0)
    .map(({ manifest, breaker }) => {
      const failures = breaker?.failures ?? 0;
      const often = failures === 1 ? "failed" : `failed ${failures} times in a row alike`;
      return `${clean(manifest?.name ?? "")} ${often}: ${orDash(clean(breaker?.lastError ?? ""))}\n`;
    })
    .join("");
}

/** What a manifest declares, in few words: "4,096 MiB", "2 × 9,000 MiB, not shared", "1 GPU, 500 MiB of host"; "-" for nothing. */
export function declaredText(resources: ResourceRequirements | undefined): string {
  if (resources === undefined) return "-";
  const { requiresGpu, minGpuVramMb, minSystemRamMb, exclusiveGpu } = resources;
  const gpus = resources.gpuCount || 1;
  const parts: string[] = [];
  if (requiresGpu) parts.push(minGpuVramMb === 0 ? `${gpus} GPU${gpus === 1 ? "" : "s"}` : onEach(gpus, mib(minGpuVramMb)));
  if (requiresGpu && exclusiveGpu) parts.push("not shared");
  if (minSystemRamMb > 0) parts.push(`${mib(minSystemRamMb)} of host`);
  return orDash(parts.join(", "));
}

/**
 * Memory that was learned: "5,210 MiB (12 runs)". "> 6,000 MiB (failed)" where a run failed that had reached more than others
 * needed; "-" for none.
 */
export function learnedText(memory: MemoryProfile | undefined, resources: ResourceRequirements | undefined): string {
  if (memory === undefined) return "-";
  const vram = figure(memory.learnedVramMb, memory.atLeastVramMb, "");
  const ram = figure(memory.learnedRamMb, memory.atLeastRamMb, " of host");
  const parts = [vram === "" ? "" : onEach(resources?.gpuCount || 1, vram), ram].filter((part) => part !== "");
  if (memory.runs > 0) return `${orDash(parts.join(", "))} (${memory.runs} ${memory.runs === 1 ? "run" : "runs"})`;
  return orDash(parts.join(", "));
}

function figure(learned: number | undefined, atLeast: number | undefined, of: string): string {
  if (atLeast !== undefined) return `> ${mib(atLeast)}${of} (failed)`;
  return learned === undefined ? "" : `${mib(learned)}${of}`;
}

function onEach(gpus: number, memory: string): string {
  return gpus === 1 ? memory : `${gpus} × ${memory}`;
}
