import type { Driven } from "./drive.ts";

/** The machine of these tests: four cards of 24 GiB. */
export const cards = Array.from({ length: 4 }, () => ({ totalMb: 24_576 }));

/** What can be promised of each: 346 is the driver's, and 492 is the margin. */
export const cardMb = 23_738;
export const boxMb = cards.length * cardMb;

/** Jobs in a list. These tests run only where SLUICE_TRUTH_JOBS says how long they may be; see vitest.config.ts. */
export const listLength = Number(process.env.SLUICE_TRUTH_JOBS ?? 60);

/** Jobs in the lists that are only there to show something. */
export const shortLength = Math.min(60, Math.max(30, Math.round(listLength / 4)));

/** So many `sluice run` at a time want more than twice what there is. */
export const atOnce = 28;

/** A job of a list takes three quarters of a second of this machine, or more on a slow one; and nobody waits for ever. */
export function limitMs(jobs: number): number {
  return 90_000 + 3_000 * jobs;
}

/** Jobs that did not end well, with what they said. */
export function failuresOf(driven: readonly Driven[]): readonly string[] {
  return driven.filter((d) => d.end !== 0).map((d) => `${d.job.id} ended with ${d.end}: ${d.said.slice(-400)}`);
}

/** Shows a measured number in the output of the tests; docs/truth-test.md has a table of them. */
export function report(title: string, numbers: Readonly<Record<string, unknown>>): void {
  process.stderr.write(`truth: ${title}: ${JSON.stringify(numbers)}\n`);
}
