import type { LeaseView } from "../engine/types.ts";

/**
 * What a holder exports to its child. GPUs are named by UUID, because indexes may change at each boot, and the order is fixed
 * all the same for programs that count (CUDA's own default order is not nvidia-smi's). Left out where no GPU was asked for:
 * an empty CUDA_VISIBLE_DEVICES would hide every GPU.
 */
export function leaseEnv(lease: LeaseView, address: string): Record<string, string> {
  const env: Record<string, string> = {
    SLUICE_LEASE_ID: lease.id,
    SLUICE_LEASE_TOKEN: String(lease.token),
    SLUICE_ADDRESS: address,
  };
  if (lease.gpus.length > 0) {
    env.CUDA_DEVICE_ORDER = "PCI_BUS_ID";
    env.CUDA_VISIBLE_DEVICES = lease.gpus.map((g) => g.uuid).join(",");
  }
  return env;
}
