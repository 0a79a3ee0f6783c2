import { setTimeout as delay } from "node:timers/promises";
import { type GroupIdentity, GroupMembers } from "./group-members.ts";
import { isJsonObject, type JsonValue } from "./json.ts";

/** What is recorded of a group that outlives whoever started it. */
export function groupRecord({ pid, start, marker }: GroupIdentity): JsonValue {
  return { pid, ...(start === undefined ? {} : { start }), ...(marker === undefined ? {} : { marker }) };
}

/** A group as it was recorded; undefined when that cannot be one. */
export function recordedGroup(value: unknown): GroupIdentity | undefined {
  if (!isJsonObject(value as JsonValue)) return undefined;
  const { pid, start, marker } = value as Readonly<Record<string, unknown>>;
  if (!isWhole(pid) || pid <= 1 || (start !== undefined && !isWhole(start))) return undefined;
  // Another variable may be that of every process of the machine.
  if (marker !== undefined && !(typeof marker === "string" && /^SLUICE_[A-Z_]+=./.test(marker))) return undefined;
  return { pid, start, marker };
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/**
 * Ends a group that is not our child: SIGTERM, the grace, SIGKILL.
 * @param options.recent it was running a moment ago, so that its number cannot belong to somebody else yet. Otherwise the number
 * counts only while its first process, with the recorded start, is there.
 * @returns how many of its processes ran, and how many are left.
 */
export function endForeignGroup(
  group: GroupIdentity,
  options: { readonly graceMs: number; readonly recent: boolean },
): Promise<{ readonly found: number; readonly left: number }> {
  const members = new GroupMembers(group, {
    pinned: () => false,
    otherwise: options.recent ? "nobody-else" : "first-process",
  });
  return members.end({ graceMs: options.graceMs, wait: (ms) => delay(ms) });
}
