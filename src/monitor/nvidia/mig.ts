import type { ListedGpu, Listing } from "./listing.ts";
import type { XmlGpu, XmlMigDevice } from "./query-xml.ts";

/** A MIG device: what `-q -x` measures, with the uuid that only `-L` tells. */
export interface MigDevice extends XmlMigDevice {
  readonly uuid: string;
  readonly name: string;
  /** Compute instances of one GPU instance have the same: they share its memory. */
  readonly poolId: string;
}

/**
 * The MIG devices of one GPU, joined on the device index. A device that `-L` does not list is left out: work could not be sent
 * there. `stale` tells that the two answers do not fit together, as while the GPU is being partitioned anew.
 */
export function migDevicesOf(
  gpu: XmlGpu,
  listing: Listing | undefined,
): { readonly devices: readonly MigDevice[]; readonly stale: boolean } {
  const parent: ListedGpu | undefined = listing?.gpus.find((listed) => listed.uuid === gpu.uuid);
  const devices: MigDevice[] = [];
  for (const device of gpu.devices) {
    const listed = parent?.devices.find((candidate) => candidate.deviceIndex === device.deviceIndex);
    if (!listed) continue;
    devices.push({
      ...device,
      uuid: listed.uuid,
      name: `${gpu.name || parent?.name || "GPU"} MIG ${listed.profile}`,
      poolId: `${gpu.uuid}/gi${device.gpuInstanceId}`,
    });
  }
  return { devices, stale: devices.length !== gpu.devices.length || devices.length !== (parent?.devices.length ?? 0) };
}

/**
 * How a GPU is partitioned. A listing belongs to one partition: uuids joined to figures of another would put one slice's memory
 * on another's name.
 */
export function partitionOf(gpu: XmlGpu): string {
  return gpu.devices
    .map(
      (device) => `${device.deviceIndex}:${device.gpuInstanceId}:${device.computeInstanceId}:${device.memory.totalMb ?? "?"}`,
    )
    .join(" ");
}
