import { isUuid } from "./csv-row.ts";

/** What `nvidia-smi -L` says. */
export interface Listing {
  readonly gpus: readonly ListedGpu[];
  /** GPUs that could not be opened: the sentence that stands in their place. */
  readonly unreadable: readonly UnreadableGpu[];
}

export interface ListedGpu {
  readonly index: number;
  readonly name: string;
  readonly uuid: string;
  readonly devices: readonly ListedMigDevice[];
}

export interface ListedMigDevice {
  /** The number after `Device`, counted within the parent GPU; `-q -x` calls it `index`. */
  readonly deviceIndex: number;
  /** The profile, such as `1g.10gb` or `1c.3g.71gb`. */
  readonly profile: string;
  readonly uuid: string;
}

export interface UnreadableGpu {
  /** By its place between its neighbours. */
  readonly index: number;
  /** `0000:02:00.0` when the sentence names it. */
  readonly pciBusId?: string;
  readonly sentence: string;
}

const gpuLine = /^GPU (\d{1,4}): (.{0,200}) \(UUID: ([^)]{1,100})\)\s*$/;
const migLine = /^\s+MIG (\S{1,40})\s+Device\s+(\d{1,4}): \(UUID: ([^)]{1,100})\)\s*$/;
const errorLine = /(?:device handle for|Problem with) (?:gpu)?\s*(.*)$/i;

/** Reads `nvidia-smi -L`, which lists every healthy GPU even where one of them makes all other questions fail. */
export function parseListing(text: string): Listing {
  const gpus: (ListedGpu & { devices: ListedMigDevice[] })[] = [];
  const unreadable: UnreadableGpu[] = [];
  let next = 0;
  for (const line of text.split("\n")) {
    const gpu = gpuLine.exec(line);
    if (gpu && isUuid(gpu[3] as string)) {
      const index = Number(gpu[1]);
      gpus.push({ index, name: gpu[2] as string, uuid: gpu[3] as string, devices: [] });
      next = index + 1;
      continue;
    }
    const device = migLine.exec(line);
    if (device && isUuid(device[3] as string)) {
      gpus.at(-1)?.devices.push({ deviceIndex: Number(device[2]), profile: device[1] as string, uuid: device[3] as string });
      continue;
    }
    const error = errorLine.exec(line);
    if (error) {
      const pci = /[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]/.exec(error[1] as string);
      unreadable.push({ index: next, sentence: line.trim().slice(0, 300), ...(pci ? { pciBusId: pci[0] } : {}) });
      next++;
    }
  }
  return { gpus, unreadable };
}

/** True when two PCI ids name the same place; the domain is printed with 4 or 8 digits, in either case. */
export function samePciBusId(a: string, b: string): boolean {
  const short = (id: string) => id.toLowerCase().replace(/^0{0,4}([0-9a-f]{4}:)/, "$1");
  return short(a) === short(b);
}
