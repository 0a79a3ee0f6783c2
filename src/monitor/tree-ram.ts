import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Mib, Millis, ProcessKey } from "../engine/sample.ts";

/** The part of a process table that is needed here. */
export interface ProcessTrees {
  alive(key: ProcessKey): boolean;
  key(pid: number): ProcessKey | undefined;
  trees(keys: readonly ProcessKey[]): Promise<ReadonlyMap<ProcessKey, readonly number[]>>;
}

/** Larger trees are not measured: reading them would take longer than a period. */
const largestTree = 512;

/**
 * Measures the host memory of process trees from /proc/<pid>/smaps_rollup. One reading at a time, and it is given up after
 * `limitMs`: the kernel makes a reader wait for the lock of the process's memory, and a process that hangs in a driver may
 * hold that for ever. What was not read in time is absent, and so is everything while an earlier reading is still stuck.
 */
export class TreeRamReader {
  private readonly table: ProcessTrees;
  private readonly proc: string;
  private readonly limitMs: Millis;
  private busy = false;

  constructor(table: ProcessTrees, proc = "/proc", limitMs: Millis = 1000) {
    this.table = table;
    this.proc = proc;
    this.limitMs = limitMs;
  }

  /** MiB, rounded down, of each tree that could be measured in full. Never rejects. */
  async read(roots: readonly ProcessKey[]): Promise<ReadonlyMap<ProcessKey, Mib>> {
    if (roots.length === 0 || this.busy) return new Map();
    this.busy = true;
    const result = new Map<ProcessKey, Mib>();
    const pass = { open: true };
    const work = this.measure(roots, result, pass)
      .catch(() => undefined)
      .finally(() => {
        this.busy = false;
      });
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.limitMs);
    });
    await Promise.race([work, limit]);
    clearTimeout(timer);
    pass.open = false;
    return result;
  }

  private async measure(roots: readonly ProcessKey[], result: Map<ProcessKey, Mib>, pass: { open: boolean }): Promise<void> {
    for (const [root, pids] of await this.table.trees(roots)) {
      const kib = pids.length > largestTree ? undefined : await this.sum(pids, pass);
      if (!pass.open) return;
      if (kib !== undefined && this.table.alive(root)) result.set(root, Math.floor(kib / 1024));
    }
  }

  private async sum(pids: readonly number[], pass: { readonly open: boolean }): Promise<number | undefined> {
    let total = 0;
    for (const pid of pids) {
      if (!pass.open) return undefined;
      const kib = await this.one(pid);
      if (kib !== undefined) total += kib;
      else if (this.table.key(pid) !== undefined) return undefined;
    }
    return total;
  }

  private async one(pid: number): Promise<number | undefined> {
    try {
      return parseSmapsRollup(await readFile(join(this.proc, String(pid), "smaps_rollup"), "latin1"));
    } catch {
      return undefined;
    }
  }
}

/**
 * The proportional set size in KiB, without pages of files where the kernel tells them apart (since 5.3). Such pages are cache:
 * the host counts them as available still. To credit a worker with the model file that it has mapped would take its promise
 * off the books before available memory has lost anything, and the same memory could be promised twice.
 */
export function parseSmapsRollup(text: string): number | undefined {
  const pss = kibField(text, "Pss");
  if (pss === undefined) return undefined;
  return Math.max(0, pss - (kibField(text, "Pss_File") ?? 0));
}

function kibField(text: string, name: string): number | undefined {
  const match = new RegExp(`^${name}:\\s+(\\d{1,15}) kB$`, "m").exec(text);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}
