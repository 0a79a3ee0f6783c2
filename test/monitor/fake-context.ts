import type { MachineSample, ProcessKey } from "../../src/engine/sample.ts";
import type { HostProbe } from "../../src/monitor/host-probe.ts";
import type { MonitorContext } from "../../src/monitor/system-monitor.ts";

/** A context whose clock follows the timers of the test, and that keeps what was logged. */
export function fakeContext(trees: readonly ProcessKey[] = []): MonitorContext & { readonly logged: string[] } {
  const logged: string[] = [];
  const write = (_: object, message: string) => void logged.push(message);
  return { now: () => Date.now(), watchedTrees: () => trees, log: { debug: write, info: write, warn: write }, logged };
}

/** A host with these numbers. */
export function fakeProbe(availableMb = 3000, totalMb = 4000): HostProbe & { readonly asked: (readonly ProcessKey[])[] } {
  const asked: (readonly ProcessKey[])[] = [];
  return {
    asked,
    async read(trees) {
      asked.push(trees);
      const host = { totalMb, availableMb, observedAt: Date.now() };
      return { host, treeRam: new Map(trees.map((t) => [t, 7])) };
    },
  };
}

/** Collects samples. */
export function collector(): { readonly samples: MachineSample[]; readonly onSample: (sample: MachineSample) => void } {
  const samples: MachineSample[] = [];
  return { samples, onSample: (sample) => void samples.push(sample) };
}
