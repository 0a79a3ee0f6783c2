import type { ExitReport } from "./process-group.ts";

/** How many processes around the server the kernel has ended for lack of memory; undefined where it does not say. */
export type OomKills = () => Promise<number | undefined>;

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
  const [then, now] = [await before, await kills()];
  return then !== undefined && now !== undefined && now > then;
}
