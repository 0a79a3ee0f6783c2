import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach } from "vitest";
import type { GpuSample, MachineSample } from "../../../src/engine/sample.ts";
import type { NvidiaMonitorOptions } from "../../../src/monitor/nvidia/nvidia-monitor-options.ts";
import { FakeNvidiaSmi, type FakeState, twoGpus } from "../../fakes/nvidia-smi/fake.ts";
import { Rig } from "./rig.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Done after the test, the last one first. */
export function afterThis(cleanup: () => Promise<void> | void): void {
  cleanups.push(cleanup);
}

/** A pretended machine and a monitor that measures it; both are ended after the test. */
export function machine(
  state: FakeState = twoGpus(),
  options: Partial<NvidiaMonitorOptions> = {},
): { fake: FakeNvidiaSmi; rig: Rig } {
  const fake = new FakeNvidiaSmi(state);
  afterThis(() => fake.dispose());
  const rig = new Rig(fake.path, options);
  afterThis(() => rig.monitor.stop());
  return { fake, rig };
}

/** A real process that the fake lists as long as it runs. */
export function sleeper(): { pid: number; end(): Promise<void> } {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  const exit = once(child, "exit");
  const end = async () => {
    child.kill();
    await exit;
  };
  afterThis(end);
  return { pid: child.pid as number, end };
}

/** The first GPU with this index. */
export function gpu(sample: MachineSample, index: number): GpuSample {
  return sample.gpus.find((candidate) => candidate.index === index) as GpuSample;
}

/** True while the process has not been reaped. */
export function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
