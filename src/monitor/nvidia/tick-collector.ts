import type { GpuRow } from "./gpu-row.ts";

/** Rows of one round of the stream, with the GPU each is about. */
export interface Tick<R extends GpuRow> {
  readonly rows: ReadonlyMap<string, R>;
  /** All GPUs of the stream have spoken in this round. */
  readonly full: boolean;
}

/**
 * Gathers the rows of nvidia-smi's loop into rounds. The stream has no mark between rounds: a round is full when as many rows
 * came as there are GPUs, and over when a GPU speaks again. A row in which even index and uuid are bracketed words (the GPU fell
 * off the bus while the loop ran) belongs to the GPU whose turn it is.
 */
export class TickCollector<R extends GpuRow> {
  /** The GPUs in the order of the stream, as the first question listed them; undefined where it could not tell which. */
  readonly #order: readonly (string | undefined)[];
  #expected: number;
  #rows = new Map<string, R>();
  #spoken = 0;

  constructor(order: readonly (string | undefined)[]) {
    this.#order = order;
    this.#expected = order.length;
  }

  /** True when a round has begun and some GPUs are still missing. */
  get waiting(): boolean {
    return this.#spoken > 0 && this.#spoken < this.#expected;
  }

  /** The round so far. */
  get tick(): Tick<R> {
    return { rows: this.#rows, full: this.#spoken >= this.#expected };
  }

  /**
   * Takes the next row. Answers the round that this row ended before it was full: GPUs without a row in it have fallen silent.
   * Look at `tick` afterwards.
   */
  add(row: R): Tick<R> | undefined {
    const identified = row.uuid;
    const over = identified === undefined ? this.#spoken >= this.#expected : this.#rows.has(identified);
    let ended: Tick<R> | undefined;
    if (over) {
      if (this.#spoken < this.#expected) ended = { rows: this.#rows, full: false };
      this.#rows = new Map();
      this.#spoken = 0;
    }
    const uuid = identified ?? this.#order[this.#spoken];
    this.#spoken++;
    // A GPU that the first question did not see was opened when the stream began: from now on the round is longer.
    if (this.#spoken > this.#expected) this.#expected = this.#spoken;
    if (uuid !== undefined && !this.#rows.has(uuid)) this.#rows.set(uuid, row);
    return ended;
  }
}
