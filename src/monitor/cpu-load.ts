import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Clock ticks of all processors since boot. */
interface Ticks {
  readonly busy: number;
  readonly total: number;
}

/**
 * How busy the processors are. Linux says so in a file; systeminformation reads it through a shell that the whole server waits for
 * (4 to 12 ms), so it is asked only where there is no such file.
 */
export class CpuLoad {
  readonly #path: string;
  #before: Ticks = { busy: 0, total: 0 };

  /** @param root what stands for `/`. */
  constructor(root: string) {
    this.#path = join(root, "proc/stat");
  }

  /** Percent over the time since the last call, over the time since boot at the first; NaN when no time has passed. */
  async read(): Promise<{ readonly currentLoad: number }> {
    const now = parseTicks(await readFile(this.#path, "latin1").catch(() => ""));
    if (now === undefined) return (await import("systeminformation/lib/cpu.js")).currentLoad();
    const currentLoad = (100 * (now.busy - this.#before.busy)) / (now.total - this.#before.total);
    this.#before = now;
    return { currentLoad };
  }
}

/** The first line of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user. */
export function parseTicks(text: string): Ticks | undefined {
  const match = /^cpu +(\d+(?: \d+){7})/.exec(text);
  if (match?.[1] === undefined) return undefined;
  const ticks = match[1].split(" ").map(Number);
  const total = ticks.reduce((sum, t) => sum + t, 0);
  const [, , , idle = 0, iowait = 0] = ticks;
  return { busy: total - idle - iowait, total };
}
