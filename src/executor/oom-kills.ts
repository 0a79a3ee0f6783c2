import type { Millis } from "../engine/sample.ts";
import type { ExitReport } from "./process-group.ts";

/**
 * How many processes around the server the kernel has ended for lack of memory; undefined where it does not say. Never rejects.
 * @param maxAgeMs an answer that was read so long ago will do; 0: as it is now.
 */
export type OomKills = (maxAgeMs: Millis) => Promise<number | undefined>;

/** Before work begins, an answer of the last second will do: reading it for each call would take longer than many calls. */
const recentMs: Millis = 1_000;

/** What the counter is as work begins; not to be waited for. */
export function killsNow(kills: OomKills): Promise<number | undefined> {
  return kills(recentMs);
}

/** Reads no more often than is asked for. @param now of a clock that never goes back. */
export function rememberKills(read: () => Promise<number | undefined>, now: () => Millis): OomKills {
  let last: { readonly at: Millis; readonly kills: Promise<number | undefined> } | undefined;
  return (maxAgeMs) => {
    if (last === undefined || now() - last.at >= maxAgeMs) last = { at: now(), kills: read() };
    return last.kills;
  };
}

/**
 * True when a process that ended by SIGKILL was ended by the kernel for lack of memory: we did not do it, and the kernel's counter
 * has moved since. An exit code of 137 alone proves nothing (X4).
 * @param before what the counter was when it began; a promise, because nobody should wait for it who has no need of it.
 */
export async function killedByKernel(
  report: ExitReport,
  kills: OomKills,
  before: Promise<number | undefined>,
): Promise<boolean> {
  if (report.weKilled || (report.signal !== "SIGKILL" && report.code !== 137)) return false;
  const [then, now] = [await before, await kills(0)];
  return then !== undefined && now !== undefined && now > then;
}
