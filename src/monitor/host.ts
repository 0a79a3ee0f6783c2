import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { mem } from "systeminformation/lib/memory.js";
import type { HostSample, Mib, Millis, ProcessKey } from "../engine/sample.ts";
import { type CgroupMemory, CgroupReader } from "./cgroup.ts";
import { CpuLoad } from "./cpu-load.ts";
import type { HostProbe } from "./host-probe.ts";
import { ProcProcessTable } from "./process-table.ts";
import { type ProcessTrees, TreeRamReader } from "./tree-ram.ts";

/** Where a SystemHostProbe gets its numbers; each can be replaced. */
export interface HostSources {
  /** What stands for `/`: /proc and /sys/fs/cgroup are read below it. */
  readonly root?: string;
  readonly processes?: ProcessTrees;
  /** Bytes. */
  readonly memory?: () => Promise<{ readonly total: number; readonly available: number }>;
  /** Percent over the time since the last call, over the time since boot at the first. */
  readonly load?: () => Promise<{ readonly currentLoad: number }>;
}

const mib = 1024 * 1024;

/** The load over a shorter time says little. */
const loadPeriodMs = 2000;

/**
 * Host memory and CPU as they are for this process: systeminformation for the machine, an own reader for the cgroup limits
 * that it does not know of, and the smaller of the two. Rounds so that it never promises more than there is.
 */
export class SystemHostProbe implements HostProbe {
  private readonly now: () => Millis;
  private readonly root: string;
  private readonly memory: NonNullable<HostSources["memory"]>;
  private readonly load: NonNullable<HostSources["load"]>;
  private readonly cgroup: CgroupReader;
  private readonly treeRam: TreeRamReader;
  private cpuPercent: number | undefined;
  private loadReadAt: Millis | undefined;

  /** @param now the engine's clock. */
  constructor(now: () => Millis, sources: HostSources = {}) {
    this.now = now;
    this.root = sources.root ?? "/";
    this.memory = sources.memory ?? mem;
    const cpuLoad = new CpuLoad(this.root);
    this.load = sources.load ?? (() => cpuLoad.read());
    this.cgroup = new CgroupReader(this.root);
    const proc = join(this.root, "proc");
    this.treeRam = new TreeRamReader(sources.processes ?? new ProcProcessTable(proc), proc);
  }

  async read(
    trees: readonly ProcessKey[],
  ): Promise<{ readonly host: HostSample; readonly treeRam: ReadonlyMap<ProcessKey, Mib> }> {
    const observedAt = this.now();
    // Trees come first: a tree that is read after `available` could be credited with memory that `available` has not lost yet.
    const treeRam = await this.treeRam.read(trees);
    const [machine, cgroup, cpuPercent] = await Promise.all([this.machine(), this.cgroup.read(), this.cpu(observedAt)]);
    return { host: { ...combine(machine, cgroup), ...(cpuPercent !== undefined && { cpuPercent }), observedAt }, treeRam };
  }

  private async machine(): Promise<MachineMemory> {
    try {
      const [{ total, available }, own] = await Promise.all([this.memory(), this.memAvailable()]);
      const totalMb = toMib(total);
      const availableMb = toMib(Math.min(available, own ?? available));
      return { ...(totalMb !== undefined && totalMb > 0 && { totalMb }), ...(availableMb !== undefined && { availableMb }) };
    } catch {
      return {};
    }
  }

  /** systeminformation takes a MemAvailable of 0 for "not told" and answers free memory plus caches, when it matters most. */
  private async memAvailable(): Promise<number | undefined> {
    try {
      return parseMemAvailable(await readFile(join(this.root, "proc/meminfo"), "latin1"));
    } catch {
      return undefined;
    }
  }

  private async cpu(at: Millis): Promise<number | undefined> {
    if (this.loadReadAt !== undefined && at - this.loadReadAt < loadPeriodMs) return this.cpuPercent;
    const isFirst = this.loadReadAt === undefined;
    this.loadReadAt = at;
    const percent = this.load().then(
      ({ currentLoad: value }) => (Number.isFinite(value) ? Math.min(100, Math.max(0, value)) : undefined),
      () => undefined,
    );
    // The first one is the mean since boot: it only sets the beginning.
    if (!isFirst) this.cpuPercent = await percent;
    return this.cpuPercent;
  }
}

interface MachineMemory {
  readonly totalMb?: Mib;
  readonly availableMb?: Mib;
}

/** The smaller of what the machine has and what the cgroup allows. Unknown on one side is unknown: it could be the smaller one. */
function combine(machine: MachineMemory, cgroup: CgroupMemory): Omit<HostSample, "observedAt"> {
  const { limitMb } = cgroup;
  if (limitMb === undefined) return { ...machine, ...clamp(machine.availableMb, machine.totalMb) };
  const totalMb = machine.totalMb === undefined ? undefined : Math.min(machine.totalMb, limitMb);
  const known = machine.availableMb !== undefined && cgroup.availableMb !== undefined;
  const availableMb = known ? Math.min(machine.availableMb, cgroup.availableMb) : undefined;
  return { ...(totalMb !== undefined && { totalMb }), ...clamp(availableMb, totalMb), cgroupLimitMb: limitMb };
}

function clamp(availableMb: Mib | undefined, totalMb: Mib | undefined): { availableMb?: Mib } {
  return availableMb === undefined ? {} : { availableMb: Math.min(availableMb, totalMb ?? availableMb) };
}

function toMib(bytes: number): Mib | undefined {
  return Number.isFinite(bytes) && bytes >= 0 ? Math.floor(bytes / mib) : undefined;
}

/** MemAvailable of /proc/meminfo, in bytes. */
export function parseMemAvailable(text: string): number | undefined {
  const match = /^MemAvailable:\s+(\d{1,15}) kB$/m.exec(text);
  return match?.[1] === undefined ? undefined : Number(match[1]) * 1024;
}
