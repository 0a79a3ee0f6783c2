import type { Millis } from "../engine/sample.ts";
import type { LeaseView } from "../engine/types.ts";
import type { MemoryLimit } from "./memory-profile.ts";
import type { LoadedPlugin } from "./registry.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** A worker on its lease, from the grant until nothing of it is left. */
export interface Tenancy {
  /** As it was when the worker was started. */
  readonly plugin: LoadedPlugin;
  readonly lease: LeaseView;
  readonly env: Readonly<Record<string, string>>;
  worker: WorkerProcess | undefined;
  canRelease: boolean;
  /** It gave memory back, and must be given it again before it works. */
  hasGivenBack: boolean;
  /** ms since 1970. */
  loadedAt: Millis | undefined;
  /** The most that loading took, until the first execution has taken note of it. */
  loadPeak: MemoryLimit;
  executions: number;
}

export function newTenancy(plugin: LoadedPlugin, lease: LeaseView, env: Readonly<Record<string, string>>): Tenancy {
  return {
    plugin,
    lease,
    env,
    worker: undefined,
    canRelease: false,
    hasGivenBack: false,
    loadedAt: undefined,
    loadPeak: {},
    executions: 0,
  };
}
