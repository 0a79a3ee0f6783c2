import type { LeaseMemo, SaveEffect, TicketMemo } from "../engine/saves.ts";

/** What one step changed of what has to outlive the server. */
export type Change = Pick<SaveEffect, "leases" | "tickets">;

/** All that has to outlive the server. */
export interface Everything {
  readonly leases: readonly LeaseMemo[];
  readonly tickets: readonly TicketMemo[];
}

/** What an earlier life of the server left. */
export interface Kept extends Everything {
  /** What was learned, by what it is of, as it was given to `learn`. */
  readonly learned: ReadonlyMap<string, unknown>;
  /** Above every token that was ever given out. */
  readonly firstToken: number;
}

/** Where what the server has promised is written down. */
export interface Store {
  /**
   * Writes a change down, after all that were given before. Rejects with a `Failure` (STATE_UNAVAILABLE) when it could not be:
   * what it promises must then not be told to anybody.
   */
  write(change: Change): Promise<void>;
  /** Undefined: everything that was written is on the disk. Else settles when it is known whether the last of it is. */
  pending(): Promise<void> | undefined;
  /** A token was given out. No later life will give it out again. */
  used(token: number): void;
  /** Something that was learned, to be kept for as long as nothing newer comes. A crash may lose the last of it. */
  learn(key: string, value: unknown): void;
  /** Writes what is still to be written, and lets go of the files. */
  close(): Promise<void>;
}

/** Nothing outlives the server. */
export const noStore: Store = {
  write: () => Promise.resolve(),
  pending: () => undefined,
  used: () => {},
  learn: () => {},
  close: () => Promise.resolve(),
};
