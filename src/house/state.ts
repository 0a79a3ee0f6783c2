import { join } from "node:path";
import type { LeaseMemo } from "../engine/saves.ts";
import { bootId } from "../executor/leftovers.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { Journal, type JournalWorld } from "../store/journal.ts";
import { startJournalThread } from "../store/journal-thread.ts";
import { type Kept, noStore, type Store } from "../store/store.ts";
import { stateFileName } from "./state-dir.ts";

/** A disk that needs longer for a few kilobytes is not one to make promises on. */
const stallMs = 10_000;
const retryMs = 3_000;

export interface OpenState {
  readonly store: Store;
  readonly kept: Kept;
  readonly isDurable: boolean;
  /** Tells what can be written down, and hears when it cannot. */
  attach(world: JournalWorld): void;
}

/**
 * Opens what an earlier life of the server left in `dir`; undefined: nothing is kept.
 * @param leastToken the first token, where the file does not know better.
 * @throws Failure STATE_UNAVAILABLE in plain words.
 */
export async function openState(
  dir: string | undefined,
  leastToken: number,
  { log, metrics }: { readonly log: Log; readonly metrics: Metrics },
): Promise<OpenState> {
  if (dir === undefined) {
    const kept = { leases: [], tickets: [], learned: new Map(), firstToken: leastToken };
    return { store: noStore, kept, isDurable: false, attach: () => {} };
  }
  const boot = bootId() ?? "";
  const data = { path: join(dir, stateFileName), boot };
  const opened = await Journal.open(
    { start: () => startJournalThread(data), stallMs, retryMs, onWritten: (ms) => metrics.stateWritten(ms / 1000) },
    leastToken,
  );
  const { journal } = opened;
  const kept = sinceBoot(opened.kept, opened.boot === boot);
  const gone = opened.kept.leases.length - kept.leases.length;
  if (kept.leases.length + kept.tickets.length + gone > 0) {
    const counts = { leases: kept.leases.length, tickets: kept.tickets.length, goneWithReboot: gone };
    log.info(counts, "took up what was promised before");
  }
  return { store: journal, kept, isDurable: true, attach: (world) => journal.attach(world) };
}

/** After a reboot no process of before runs: what leases had of theirs is free. */
function sinceBoot(kept: Kept, isSameBoot: boolean): Kept {
  if (isSameBoot) return kept;
  const ran = (lease: LeaseMemo) => lease.processes.length > 0;
  return { ...kept, leases: kept.leases.filter((lease) => !ran(lease)) };
}
