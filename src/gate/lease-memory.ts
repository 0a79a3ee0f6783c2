import type { LeaseId, LeaseView } from "../engine/types.ts";
import type { MemoryWatch } from "../executor/admission.ts";
import type { MemoryLimit } from "../executor/memory-profile.ts";

interface Watch {
  readonly leaseId: LeaseId;
  readonly onGrowth: () => void;
  vramMb: number | undefined;
  ramMb: number | undefined;
}

/** Keeps the peaks that measurements show of single leases. Call `sampled` after each measurement. */
export class LeaseMemory {
  readonly #leaseOf: (id: LeaseId) => LeaseView | undefined;
  readonly #watches = new Set<Watch>();

  constructor(leaseOf: (id: LeaseId) => LeaseView | undefined) {
    this.#leaseOf = leaseOf;
  }

  /** @param onGrowth it takes more than ever since the watch began. */
  watch(leaseId: LeaseId, onGrowth: () => void = () => {}): MemoryWatch {
    const watch: Watch = { leaseId, onGrowth, vramMb: undefined, ramMb: undefined };
    this.#watches.add(watch);
    return {
      peak: (): MemoryLimit => ({
        ...(watch.vramMb === undefined ? {} : { vramMb: watch.vramMb }),
        ...(watch.ramMb === undefined ? {} : { ramMb: watch.ramMb }),
      }),
      stop: () => {
        this.#watches.delete(watch);
      },
    };
  }

  /** A new measurement has been taken in. */
  sampled(): void {
    for (const watch of this.#watches) {
      const lease = this.#leaseOf(watch.leaseId);
      if (lease === undefined || lease.end !== undefined) continue;
      const before = { vramMb: watch.vramMb, ramMb: watch.ramMb };
      // Unknown on one GPU: the largest over all of them is not known.
      const onGpus = lease.gpus.map((g) => g.residentMb);
      if (onGpus.length > 0 && !onGpus.includes(undefined)) {
        watch.vramMb = Math.max(watch.vramMb ?? 0, ...(onGpus as number[]));
      }
      if (lease.residentRamMb !== undefined) watch.ramMb = Math.max(watch.ramMb ?? 0, lease.residentRamMb);
      if (grew(before.vramMb, watch.vramMb) || grew(before.ramMb, watch.ramMb)) watch.onGrowth();
    }
  }
}

function grew(before: number | undefined, after: number | undefined): boolean {
  return after !== undefined && after > (before ?? 0);
}
