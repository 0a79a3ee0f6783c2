import type { Millis } from "./sample.ts";
import type { Workload } from "./types.ts";

/** How long work runs is guessed until this many pieces of work have ended. */
const enoughEnds = 10;
/** The guess before anything has ended. Only the order of the queue rests on it, never a promise. */
const firstGuessMs: Millis = 30_000;
/** Weight of the newest end in what is known of all work, and of work of the same kind. */
const weightOfAll = 0.05;
const weightOfKind = 0.3;
/** A kind of work counts for at most as many ends as this against one end of all work. */
const kindCountsAtMost = 5;
/** Kinds that are remembered; the one that has not ended for longest is forgotten first. */
const rememberedKinds = 4_096;

/** Resolution of the distribution: bins for each doubling, over 2^−16 to 2^16 times the estimate. */
const binsPerDoubling = 8;
const lowestDoubling = -16;
const bins = 32 * binsPerDoubling;
/** Old ends count half after so many new ones, so that the distribution follows what is run. */
const halvedAfter = 2_000;

/** What was learned, as plain data: means on a logarithmic scale with how many ends they are of, and ends by bin. */
export interface DurationsMemo {
  readonly all: readonly [logMean: number, ends: number];
  readonly kinds: readonly (readonly [kind: string, logMean: number, ends: number])[];
  readonly ratios: readonly (readonly [bin: number, count: number])[];
}

interface Kind {
  logMean: number;
  ends: number;
}

/**
 * How long work runs, learned from work that has ended: a mean for each kind (same tenant, name and needs) on a logarithmic
 * scale, drawn towards the mean of all work while a kind is new, and how far ends have lain from these estimates. Where equal
 * work takes equally long the second is narrow and the estimates are sharp; where it does not, they are honest about it.
 */
export class Durations {
  readonly #kinds = new Map<string, Kind>();
  readonly #all: Kind = { logMean: Math.log(firstGuessMs), ends: 0 };
  /** Ends by actual ÷ estimate. */
  readonly #ratios = new Float64Array(bins);
  #ratioCount = 0;
  /** Worked out since the last end. */
  readonly #spreads = new Map<number, number>();
  #sinceHalved = 0;

  /** True once estimates rest on enough ends to be told to people. */
  get isKnown(): boolean {
    return this.#ratioCount >= enoughEnds;
  }

  /** Middle estimate of the duration of a kind of work, before the spread is applied: pass it to the other methods. */
  estimateMs(kindOfWork: string): Millis {
    const kind = this.#kinds.get(kindOfWork);
    if (kind === undefined) return Math.exp(this.#all.logMean);
    const weight = Math.min(kind.ends, kindCountsAtMost);
    return Math.exp((weight * kind.logMean + this.#all.logMean) / (weight + 1));
  }

  /** The factor on an estimate under which the share `q` of all work ended. */
  spread(q: number): number {
    if (!this.isKnown) return q < 0.75 ? 1 : 3;
    let factor = this.#spreads.get(q);
    if (factor === undefined) {
      factor = this.#quantile(0, q);
      this.#spreads.set(q, factor);
    }
    return factor;
  }

  /** What was learned, for `takeUp`. */
  memo(): DurationsMemo {
    return {
      all: [this.#all.logMean, this.#all.ends],
      kinds: [...this.#kinds].map(([kind, { logMean, ends }]) => [kind, logMean, ends] as const),
      ratios: [...this.#ratios.entries()].filter(([, count]) => count > 0),
    };
  }

  /** What an earlier life of the server had learned. Before anything is learned here. */
  takeUp(memo: DurationsMemo): void {
    [this.#all.logMean, this.#all.ends] = memo.all;
    for (const [kind, logMean, ends] of memo.kinds) this.#kinds.set(kind, { logMean, ends });
    for (const [bin, count] of memo.ratios) {
      if (bin < 0 || bin >= bins) continue;
      this.#ratios[bin] = count;
      this.#ratioCount += count;
    }
  }

  /** How much longer work runs that has run for `elapsedMs`, by the share `q` of what ran as long before. */
  remainingMs(estimateMs: Millis, elapsedMs: Millis, q: number): Millis {
    // Nothing is known: what has run for long, runs on for long.
    if (!this.isKnown) return Math.max(1_000, elapsedMs, estimateMs - elapsedMs);
    const ratio = elapsedMs / estimateMs;
    const total = this.#quantile(ratio, q) * estimateMs;
    return Math.max(300, total - elapsedMs);
  }

  /** Work has ended. `estimateMs` is what was estimated when it began. */
  learn(kindOfWork: string, estimateMs: Millis, actualMs: Millis): void {
    const actual = Math.max(100, actualMs);
    this.#count(binOf(actual / estimateMs));
    const log = Math.log(actual);
    draw(this.#all, log, weightOfAll);
    const kind = this.#kinds.get(kindOfWork) ?? { logMean: log, ends: 0 };
    draw(kind, log, weightOfKind);
    this.#kinds.delete(kindOfWork);
    this.#kinds.set(kindOfWork, kind);
    if (this.#kinds.size > rememberedKinds) {
      const oldest = this.#kinds.keys().next().value;
      if (oldest !== undefined) this.#kinds.delete(oldest);
    }
  }

  #count(bin: number): void {
    this.#spreads.clear();
    this.#ratios[bin] = (this.#ratios[bin] ?? 0) + 1;
    this.#ratioCount++;
    if (++this.#sinceHalved < halvedAfter) return;
    this.#sinceHalved = 0;
    this.#ratioCount = 0;
    for (let i = 0; i < bins; i++) {
      const half = (this.#ratios[i] ?? 0) / 2;
      this.#ratios[i] = half;
      this.#ratioCount += half;
    }
  }

  /** Quantile of the ratio among ends above `from`; above everything that was seen it doubles. */
  #quantile(from: number, q: number): number {
    const first = from <= 0 ? 0 : binOf(from) + 1;
    let above = 0;
    for (let i = first; i < bins; i++) above += this.#ratios[i] ?? 0;
    if (above < 1) return Math.max(from * 2, 1);
    let left = above * q;
    for (let i = first; i < bins; i++) {
      const here = this.#ratios[i] ?? 0;
      if (here > 0 && left <= here) return 2 ** ((i + left / here) / binsPerDoubling + lowestDoubling);
      left -= here;
    }
    return 2 ** (bins / binsPerDoubling + lowestDoubling);
  }
}

function draw(kind: Kind, log: number, weight: number): void {
  kind.ends++;
  kind.logMean += Math.max(weight, 1 / kind.ends) * (log - kind.logMean);
}

function binOf(ratio: number): number {
  const bin = Math.floor((Math.log2(ratio) - lowestDoubling) * binsPerDoubling);
  return Math.max(0, Math.min(bins - 1, bin));
}

/** Work of the same tenant with the same name and needs is of one kind. */
export function kindOf({ tenant, name, requirements: r }: Workload): string {
  // Joined, and not a template, which would be kept in its parts for each who waits.
  return [tenant, name, `${r.gpuCount}|${r.vramMb}|${r.ramMb}`].join("\u0000");
}
