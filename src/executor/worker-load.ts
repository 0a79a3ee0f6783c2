/** Growth below this may be chance, in MiB. */
const minGrowthMb = 16;

export interface LoadWatchOptions {
  /** Longest time without a sign of progress, in ms. */
  readonly stallMs: number;
  /** Memory that the worker takes now, in MiB; undefined when it is not known. */
  readonly memoryMb?: (() => number | undefined) | undefined;
  /** True while nobody reads what the worker says: then that nothing was heard of it says nothing. */
  readonly deaf: () => boolean;
  readonly onStall: (lastHeard: string | undefined) => void;
}

/**
 * Watches a worker load. How long a model takes to load nobody knows; but one that does is heard of: it says something, or its memory
 * grows.
 */
export class LoadWatch {
  readonly #options: LoadWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #lastHeard: string | undefined;
  #memoryMb: number | undefined;

  constructor(options: LoadWatchOptions) {
    this.#options = options;
    this.#memoryMb = options.memoryMb?.();
    this.#timer = setTimeout(() => this.#late(), options.stallMs);
    this.#timer.unref();
  }

  /** A sign of life. @param what in words that follow "the last thing heard of it was …"; undefined: not worth to be named. */
  heard(what?: string): void {
    if (what !== undefined) this.#lastHeard = what;
    this.#timer.refresh();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #late(): void {
    const before = this.#memoryMb;
    this.#memoryMb = this.#options.memoryMb?.() ?? before;
    const grew = before !== undefined && this.#memoryMb !== undefined && this.#memoryMb - before >= minGrowthMb;
    if (grew) this.heard(memoryGrew);
    else if (this.#options.deaf()) this.#timer.refresh();
    else this.#options.onStall(this.#lastHeard);
  }
}

export const memoryGrew = "that its memory grew";
