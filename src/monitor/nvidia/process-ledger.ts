import type { GpuProcessSample, Mib, Millis, ProcessKey, ProcessSample } from "../../engine/sample.ts";
import type { ComputeApp, ComputeApps } from "./compute-apps.ts";

/** A process list with the times around its reading. */
export interface TakenList {
  /** Before the question was asked. */
  readonly askedAt: Millis;
  /** When the answer was complete. */
  readonly endedAt: Millis;
  readonly apps: ComputeApps;
}

/** Less than this is what a GPU uses with nobody on it; a CUDA context alone is 400 MiB and more. */
const busyMb: Mib = 256;

/**
 * Keeps the newest process list that samples may carry, and knows for which GPUs it can be believed.
 *
 * A list is held back until memory figures come that were all taken after it: with a list newer than the figures, a worker would
 * be credited with memory that `free` has not lost yet.
 *
 * nvidia-smi tells pids of the PID namespace of the driver, the host's. Whether they are ours cannot be asked, so it is concluded:
 * - A process that cannot be seen here and whose name nvidia-smi could not find either lives in another namespace, and then so
 *   do all pids: any of them may be equal to one of ours by chance. Nothing is attributed, on no GPU. Once pids are known to be
 *   ours, the same process must be in two lists in a row, since one that has just ended looks the same.
 * - A list with processes, all of which can be seen here, is the proof that they are ours. It holds until the case above.
 * - Without that proof, an empty list on a GPU that uses 256 MiB or more tells nothing, except in the host's own PID namespace,
 *   where it means that the memory belongs to graphics clients.
 * Apart from that a GPU is believed unless one of its processes has no memory figure, or the driver refuses to list some.
 */
export class ProcessLedger {
  readonly #lineage: (pid: number) => readonly ProcessKey[];
  readonly #hostPids: boolean;
  readonly #staleAfterMs: Millis;
  #held: TakenList | undefined;
  #current: (TakenList & { readonly sample: ProcessSample; readonly foreign: boolean }) | undefined;
  #proven = false;
  #strangers = new Set<number>();

  /**
   * @param hostPids true when this process is in the host's own PID namespace
   * @param staleAfterMs how old a list may be and still be believed
   */
  constructor(lineage: (pid: number) => readonly ProcessKey[], hostPids: boolean, staleAfterMs: Millis) {
    this.#lineage = lineage;
    this.#hostPids = hostPids;
    this.#staleAfterMs = staleAfterMs;
  }

  /** Takes a list that has just been read, to be shown once the memory figures are newer. */
  offer(list: TakenList): void {
    this.#held = list;
  }

  /** @param figuresFrom the oldest moment that any memory figure of the next sample may be from. */
  adopt(figuresFrom: Millis): void {
    const held = this.#held;
    if (!held || figuresFrom < held.endedAt) return;
    this.#held = undefined;
    const list = held.apps.list.map((app) => this.#sampleOf(app));
    this.#current = { ...held, sample: { observedAt: held.askedAt, list }, foreign: this.#isForeign(held.apps.list, list) };
  }

  /** What samples carry; undefined until the first list has been adopted. */
  get processes(): ProcessSample | undefined {
    return this.#current?.sample;
  }

  /**
   * Whether the memory on this GPU can be divided among processes.
   * @param parentUuid the physical GPU of a MIG device
   * @param usedMb as measured now
   */
  attributes(gpuUuid: string, parentUuid: string | undefined, usedMb: Mib | undefined, now: Millis): boolean {
    const current = this.#current;
    if (!current || current.foreign || now - current.askedAt > this.#staleAfterMs) return false;
    if (current.apps.incomplete.has(gpuUuid) || current.apps.rejected > 0) return false;
    // A process that is only known to be somewhere on the parent may be on this very device.
    if (parentUuid !== undefined && current.apps.list.some((app) => app.gpuUuid === parentUuid)) return false;
    const here = current.apps.list.filter((app) => app.gpuUuid === gpuUuid);
    if (here.some((app) => app.usedMb === undefined)) return false;
    return here.length > 0 || this.#proven || this.#hostPids || (usedMb !== undefined && usedMb < busyMb);
  }

  #sampleOf(app: ComputeApp): GpuProcessSample {
    const lineage = this.#lineage(app.pid);
    return {
      pid: app.pid,
      gpuUuid: app.gpuUuid,
      name: app.name,
      lineage,
      ...(app.usedMb === undefined ? {} : { usedMb: app.usedMb }),
    };
  }

  #isForeign(apps: readonly ComputeApp[], seen: readonly GpuProcessSample[]): boolean {
    const strangers = new Set<number>();
    for (const [at, app] of apps.entries()) if (app.nameless && seen[at]?.lineage.length === 0) strangers.add(app.pid);
    const stayed = [...strangers].some((pid) => this.#strangers.has(pid));
    this.#strangers = strangers;
    if (strangers.size > 0) {
      if (!this.#proven || stayed) this.#proven = false;
      return !this.#proven;
    }
    if (seen.length > 0 && seen.every((process) => process.lineage.length > 0)) this.#proven = true;
    return false;
  }
}
