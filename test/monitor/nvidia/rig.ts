import type { MachineSample, Mib, ProcessKey } from "../../../src/engine/sample.ts";
import type { HostProbe, ProcessTable } from "../../../src/monitor/host-probe.ts";
import { NvidiaMonitor } from "../../../src/monitor/nvidia/nvidia-monitor.ts";
import type { NvidiaMonitorOptions } from "../../../src/monitor/nvidia/nvidia-monitor-options.ts";
import { waitFor } from "../../wait-for.ts";

/** A host that always has the same memory. */
export class FakeHost implements HostProbe {
  reads = 0;
  availableMb: Mib = 32_000;
  trees: readonly ProcessKey[] = [];

  read(trees: readonly ProcessKey[]) {
    this.reads++;
    this.trees = trees;
    const treeRam = new Map(trees.map((tree) => [tree, 100]));
    return Promise.resolve({ host: { totalMb: 64_000, availableMb: this.availableMb, observedAt: Date.now() }, treeRam });
  }
}

/** Sees the processes whose pid is not in `hidden`. */
export class FakeProcesses implements ProcessTable {
  readonly hidden = new Set<number>();
  readonly ended = new Set<ProcessKey>();

  key(pid: number): ProcessKey | undefined {
    return this.hidden.has(pid) ? undefined : `${pid}:1`;
  }

  lineage(pid: number): readonly ProcessKey[] {
    return this.hidden.has(pid) ? [] : [`${pid}:1`, "1:1"];
  }

  alive(key: ProcessKey): boolean {
    return !this.ended.has(key);
  }

  tree(key: ProcessKey): readonly number[] {
    return [Number.parseInt(key, 10)];
  }
}

function healthOf(sample: MachineSample): string {
  return sample.gpus.map((gpu) => gpu.health).join(" ");
}

/** A monitor with everything it says, on periods short enough for tests. */
export class Rig {
  readonly host = new FakeHost();
  readonly processes = new FakeProcesses();
  readonly samples: MachineSample[] = [];
  readonly warnings: string[] = [];
  watched: readonly ProcessKey[] = [];
  readonly monitor: NvidiaMonitor;
  readonly #began = Date.now() - performance.now();

  constructor(path: string, options: Partial<NvidiaMonitorOptions> = {}) {
    const log = {
      debug: () => {},
      info: () => {},
      warn: (_fields: object, message: string) => void this.warnings.push(message),
    };
    this.monitor = new NvidiaMonitor({
      path,
      host: this.host,
      processes: this.processes,
      context: { now: () => this.now(), watchedTrees: () => this.watched, log },
      periodMs: 100,
      silenceMs: 1500,
      backoffMinMs: 100,
      backoffMaxMs: 400,
      graceMs: 300,
      inventorySickMs: 300,
      migPeriodMs: 200,
      ...options,
    });
  }

  now(): number {
    return this.#began + performance.now();
  }

  async start(): Promise<MachineSample> {
    const first = await this.monitor.start((sample) => void this.samples.push(sample));
    this.samples.unshift(first);
    return first;
  }

  get last(): MachineSample {
    return this.samples.at(-1) as MachineSample;
  }

  /** The health of each GPU in the newest sample. */
  get health(): string {
    return healthOf(this.last);
  }

  async until(health: string, timeoutMs = 10_000): Promise<MachineSample> {
    try {
      return await waitFor(
        () => this.samples.findLast((sample) => healthOf(sample) === health && sample === this.last),
        health,
        timeoutMs,
      );
    } catch {
      throw new Error(`waited ${timeoutMs} ms for health "${health}", but it is "${this.health}": ${this.last.message}`);
    }
  }
}
