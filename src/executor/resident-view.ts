import type { Millis } from "../engine/sample.ts";
import type { LeaseView } from "../engine/types.ts";
import type { IdleTimer } from "./idle-timer.ts";
import type { Tenancy } from "./tenancy.ts";
import type { WorkerState, WorkerView } from "./worker-view.ts";

/** A copy of what there is to tell of a worker. @param lease its lease as it is now; undefined when it has none. */
export function residentView(
  state: WorkerState,
  tenancy: Tenancy | undefined,
  lease: LeaseView | undefined,
  idle: IdleTimer,
  loadTimeMs: Millis | undefined,
): WorkerView {
  // Unknown on one GPU: the sum is not known.
  const byGpu = lease?.gpus.map((g) => g.residentMb) ?? [];
  const vramMb = byGpu.includes(undefined) ? undefined : (byGpu as number[]).reduce((sum, mb) => sum + mb, 0);
  return {
    state,
    pid: tenancy?.worker?.pid ?? 0,
    leaseId: tenancy?.lease.id ?? "",
    executions: tenancy?.executions ?? 0,
    ...(tenancy?.loadedAt === undefined ? {} : { loadedAt: tenancy.loadedAt }),
    ...(idle.since === undefined ? {} : { idleSince: idle.since }),
    ...(idle.endsAt === undefined ? {} : { unloadAt: idle.endsAt }),
    ...(loadTimeMs === undefined ? {} : { loadTimeMs }),
    ...(byGpu.length === 0 || vramMb === undefined ? {} : { residentVramMb: vramMb }),
    ...(lease?.residentRamMb === undefined ? {} : { residentRamMb: lease.residentRamMb }),
  };
}
