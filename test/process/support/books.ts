import type { GpuAccount } from "#gen/sluice/v1/scheduler_pb.js";
import type { Scheduler } from "./scheduler.ts";

/** The books of one GPU as they are now. */
export async function accountOf(scheduler: Scheduler, index = 0): Promise<GpuAccount> {
  const gpu = (await scheduler.listQueue({})).gpus[index];
  if (gpu === undefined) throw new Error(`GPU ${index} is not listed`);
  return gpu;
}

/** Ids of the leases that still claim memory. */
export async function leaseIds(scheduler: Scheduler): Promise<readonly string[]> {
  return (await scheduler.listLeases({})).leases.map((lease) => lease.id);
}
