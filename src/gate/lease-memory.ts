import type { Millis } from "../engine/sample.ts";
import type { LeaseId, LeaseView } from "../engine/types.ts";
import type { MemoryWatch } from "../executor/admission.ts";
import type { MemoryLimit } from "../executor/memory-profile.ts";

/** So many more measurements are waited for when a run was shorter than the time between two of them. */
const lastOnes = 8;

interface Watch {
  readonly leaseId: LeaseId;
  readonly since: Millis;
  readonly onGrowth: () => void;
  vramMb: number | undefined;
  ramMb: number | undefined;
  /** Set when the run is over. */
  done: ((peak: MemoryLimit) => void) | undefined;
  left: number;
}

/**
 * Keeps the peaks that measurements show of single leases. A figure from before a watch began says nothing of what is watched: in it
 * a worker that has just loaded has not got its memory yet. Call `sampled` after each measurement.
 */
export class LeaseMemory {
  readonly #leaseOf: (id: LeaseId) => LeaseView | undefined;
  readonly #now: () => Millis;
  readonly #watches = new Set<Watch>();

  /** @param now the clock that measurements are dated by. */
  constructor(leaseOf: (id: LeaseId) => LeaseView | undefined, now: () => Millis) {
    this.#leaseOf = leaseOf;
    this.#now = now;
  }

  /** @param onGrowth it takes more than ever since the watch began. */
  watch(leaseId: LeaseId, onGrowth: () => void = () => {}): MemoryWatch {
    const watch: Watch = {
      leaseId,
      since: this.#now(),
      onGrowth,
      vramMb: undefined,
      ramMb: undefined,
      done: undefined,
      left: lastOnes,
    };
    this.#watches.add(watch);
    return {
      peak: () => peakOf(watch),
      stop: () => {
        this.#watches.delete(watch);
      },
      finish: (done) => {
        watch.done = done;
        this.#finish(watch, this.#leaseOf(watch.leaseId));
      },
    };
  }

  /** A new measurement has been taken in. */
  sampled(): void {
    // Short runs leave many watches of one lease behind, and a view of it is made anew each time.
    const leases = new Map<LeaseId, LeaseView | undefined>();
    for (const watch of this.#watches) {
      if (!leases.has(watch.leaseId)) leases.set(watch.leaseId, this.#leaseOf(watch.leaseId));
      const lease = leases.get(watch.leaseId);
      if (lease !== undefined && lease.end === undefined) this.#measure(watch, lease);
      if (watch.done === undefined) continue;
      watch.left--;
      this.#finish(watch, lease);
    }
  }

  #measure(watch: Watch, lease: LeaseView): void {
    const before = { vramMb: watch.vramMb, ramMb: watch.ramMb };
    const isNew = (at: Millis | undefined) => at !== undefined && at > watch.since;
    // Unknown on one GPU: the largest over all of them is not known.
    const onGpus = lease.gpus.map((g) => (isNew(g.residentAt) ? g.residentMb : undefined));
    if (onGpus.length > 0 && !onGpus.includes(undefined)) {
      watch.vramMb = Math.max(watch.vramMb ?? 0, ...(onGpus as number[]));
    }
    if (lease.residentRamMb !== undefined && isNew(lease.residentRamAt)) {
      watch.ramMb = Math.max(watch.ramMb ?? 0, lease.residentRamMb);
    }
    if (grew(before.vramMb, watch.vramMb) || grew(before.ramMb, watch.ramMb)) watch.onGrowth();
  }

  /** Once everything was measured, or will not be. */
  #finish(watch: Watch, lease: LeaseView | undefined): void {
    const isOver = lease === undefined || lease.end !== undefined || watch.left <= 0;
    const isMeasured = watch.ramMb !== undefined && (watch.vramMb !== undefined || lease?.gpus.length === 0);
    if (!isOver && !isMeasured) return;
    this.#watches.delete(watch);
    watch.done?.(peakOf(watch));
  }
}

function peakOf({ vramMb, ramMb }: Watch): MemoryLimit {
  return { ...(vramMb === undefined ? {} : { vramMb }), ...(ramMb === undefined ? {} : { ramMb }) };
}

function grew(before: number | undefined, after: number | undefined): boolean {
  return after !== undefined && after > (before ?? 0);
}
