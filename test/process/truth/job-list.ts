import { Random } from "../../simulation/random.ts";

/** A job of a list. */
export interface ListedJob {
  readonly id: string;
  readonly gpus: number;
  /** On each of its GPUs; MiB. */
  readonly vramMb: number;
  /** From its first memory to its end, the time included in which it takes more and more. */
  readonly seconds: number;
}

interface Kind {
  /** Of the jobs of a list. */
  readonly share: number;
  readonly gpus: number;
  readonly minMb: number;
  readonly maxMb: number;
}

/** A shared box: much of the work is small, some of it nearly fills a card of 24 GiB, and some needs two cards at once. */
const kinds: readonly Kind[] = [
  { share: 0.4, gpus: 1, minMb: 1_500, maxMb: 5_000 },
  { share: 0.28, gpus: 1, minMb: 5_000, maxMb: 10_000 },
  { share: 0.2, gpus: 1, minMb: 12_000, maxMb: 20_000 },
  { share: 0.12, gpus: 2, minMb: 6_000, maxMb: 14_000 },
];

/** Shorter ones would measure how long processes take to start: `sluice run` and a job cost nearly a second of a core. */
const shortestS = 3;
const longestS = 13;

/** A list of jobs. The same seed gives the same list. */
export function jobList(seed: number, count: number): readonly ListedJob[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, i) => {
    const { gpus, minMb, maxMb } = kindOf(random.next());
    // Even on a logarithmic scale: more short ones than long ones.
    const seconds = shortestS * (longestS / shortestS) ** random.next();
    return { id: `job-${i}`, gpus, vramMb: random.whole(minMb, maxMb), seconds: Math.round(4 * seconds) / 4 };
  });
}

function kindOf(point: number): Kind {
  let left = point;
  for (const kind of kinds) {
    if (left < kind.share) return kind;
    left -= kind.share;
  }
  return kinds[0] as Kind;
}

/** What jobs want together, of all GPUs; MiB. */
export function demandOf(jobs: readonly ListedJob[]): number {
  return jobs.reduce((sum, job) => sum + job.gpus * job.vramMb, 0);
}
