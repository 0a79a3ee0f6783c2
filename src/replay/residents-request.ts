import type { Millis } from "../engine/sample.ts";

/** One request of a list: it needs its model to be resident. */
export interface ResidentRequest {
  readonly atMs: Millis;
  readonly model: string;
}

/** The answer of `sluice replay --residents`; the names are those of its JSON. */
export interface ResidentsResult {
  readonly requests: number;
  /** Requests whose model was not resident and had to be loaded. */
  readonly misses: number;
  /** Residents that had to go so that another model could be loaded. */
  readonly evictions: number;
}

/** More places for residents are not replayed; no machine has as many workers. */
export const maxSlots = 1_000;

/** @throws RangeError when it is no number of places. */
export function checkSlots(slots: number): void {
  if (!Number.isInteger(slots) || slots < 1) throw new RangeError(`slots is ${slots}; it must be a whole number from 1`);
}
