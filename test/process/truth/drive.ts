import { setTimeout as delay } from "node:timers/promises";
import type { End, Started } from "../support/server.ts";
import type { Site } from "../support/site.ts";
import type { ListedJob } from "./job-list.ts";

/** What became of a job of a list. Times are milliseconds since 1970, as in the server's log. */
export interface Driven {
  readonly job: ListedJob;
  /** When `sluice run` was started for it. */
  readonly offeredAt: number;
  /** When its command began and ended; undefined when it did not. */
  readonly commandAt: { readonly begin: number | undefined; readonly end: number | undefined };
  /** When `sluice run` had ended. */
  readonly endedAt: number;
  readonly end: End;
  /** What it said on standard error. */
  readonly said: string;
}

/** How a list is driven. */
export interface DriveOptions {
  /** So many `sluice run` are there at a time, those that wait and those whose job runs. */
  readonly atOnce: number;
  /** What a job really takes on each GPU (MiB); what it declared when not given. */
  readonly takes?: (job: ListedJob) => number;
  /** More flags of `sluice run`. */
  readonly flags?: readonly string[];
  /** At least this long from one offer to the next (ms). */
  readonly paceMs?: number;
  /** Waited for before each offer, where the server may be away. */
  readonly mayOffer?: () => Promise<unknown>;
  /** Called when a job has ended. */
  readonly onEnd?: (driven: Driven) => void;
}

/** What driving needs of a site. A test that ends its server and starts another brings its own. */
export type Drivable = Pick<Site, "run" | "machine">;

/** Longer than any list takes. */
const waitLimitS = 1_800;

/**
 * So long it is from one offer to the next unless somebody says otherwise. Starting `sluice run` costs more than half a second of a core; ten in one moment
 * would take it from the jobs that run.
 */
const usualPaceMs = 700;

/** Tells when the job began and ended, so that what it took can be told from what was added to it. */
const timed = 'date +%s%3N; "$@"; code=$?; date +%s%3N; exit $code';

/**
 * Drives a list of jobs through `sluice run`, in its order: when one has ended the next is offered. Nothing else of the site is
 * touched, and what happens to the server meanwhile is the caller's affair.
 * @returns what became of each, in the order of the list.
 */
export async function drive(site: Drivable, jobs: readonly ListedJob[], options: DriveOptions): Promise<readonly Driven[]> {
  const { atOnce, takes = (job) => job.vramMb, flags = [], paceMs = usualPaceMs, mayOffer, onEnd = () => {} } = options;
  const done: Driven[] = [];
  let next = 0;
  let turn = Date.now();
  const lane = async () => {
    for (let i = next++; i < jobs.length; i = next++) {
      const job = jobs[i] as ListedJob;
      turn = Math.max(turn + paceMs, Date.now());
      await delay(turn - Date.now());
      await mayOffer?.();
      const offeredAt = Date.now();
      const run = offer(site, job, takes(job), flags);
      const end = await run.end;
      const driven = { job, offeredAt, commandAt: timesOf(run), endedAt: Date.now(), end, said: run.err() };
      done[i] = driven;
      onEnd(driven);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, jobs.length) }, lane));
  return done;
}

function offer(site: Drivable, job: ListedJob, takesMb: number, flags: readonly string[]): Started {
  const rampSeconds = rampOf(job);
  const command = site.machine.job(takesMb, Number((job.seconds - rampSeconds).toFixed(2)), rampSeconds, job.gpus);
  const needs = ["--vram", `${job.vramMb}`, "--gpus", `${job.gpus}`, "--duration", `${job.seconds}`];
  const told = ["--name", job.id, "--timeout", `${waitLimitS}`];
  return site.run([...needs, ...told, ...flags], ["sh", "-c", timed, "job", ...command]);
}

/** Work takes its memory little by little, over so many seconds. What is promised is not in the measurements until then. */
export function rampOf(job: ListedJob): number {
  return Number(Math.min(1, job.seconds / 4).toFixed(1));
}

function timesOf(run: Started): Driven["commandAt"] {
  const times = run
    .out()
    .split("\n")
    .filter((line) => /^\d{13}$/.test(line))
    .map(Number);
  return { begin: times[0], end: times[1] };
}
