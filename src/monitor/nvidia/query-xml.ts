import { XMLParser } from "fast-xml-parser";
import type { Mib } from "../../engine/sample.ts";
import { isUuid, mibOf, numberOf, wordOf } from "./csv-row.ts";

/** Memory in MiB; a figure that is `N/A` or missing is absent. */
export interface XmlMemory {
  readonly totalMb?: Mib;
  readonly reservedMb?: Mib;
  readonly usedMb?: Mib;
  readonly freeMb?: Mib;
}

export interface XmlMigDevice {
  readonly deviceIndex: number;
  readonly gpuInstanceId: number;
  readonly computeInstanceId: number;
  readonly memory: XmlMemory;
}

export interface XmlProcess {
  readonly pid: number;
  readonly name: string;
  readonly usedMb?: Mib;
  readonly gpuInstanceId?: number;
  readonly computeInstanceId?: number;
}

export interface XmlGpu {
  readonly uuid: string;
  readonly name: string;
  readonly pciBusId?: string;
  readonly addressingMode?: string;
  readonly migCurrent?: string;
  readonly migPending?: string;
  readonly computeMode?: string;
  readonly memory: XmlMemory;
  readonly loadPercent?: number;
  readonly temperatureC?: number;
  readonly powerW?: number;
  readonly devices: readonly XmlMigDevice[];
  /** Processes of type C and C+G. */
  readonly processes: readonly XmlProcess[];
}

export interface XmlLog {
  readonly driverVersion?: string;
  readonly gpus: readonly XmlGpu[];
  /** False when the end of the document is missing: GPUs may be missing, and those that are there were complete. */
  readonly complete: boolean;
}

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  parseTagValue: false,
  parseAttributeValue: false,
  isArray: (name) => name === "gpu" || name === "mig_device" || name === "process_info",
});

type Node = Readonly<Record<string, unknown>>;

/**
 * Reads `nvidia-smi -q -x`. Never throws: what cannot be read is left out. Of a document that breaks off only whole `<gpu>`
 * elements count, since a number may have been cut in the middle.
 */
export function parseQueryXml(text: string): XmlLog {
  const closing = "</nvidia_smi_log>";
  const complete = text.trimEnd().endsWith(closing);
  const whole = complete ? text : `${text.slice(0, text.lastIndexOf("</gpu>") + "</gpu>".length)}${closing}`;
  if (!whole.includes("<nvidia_smi_log")) return { gpus: [], complete: false };
  let root: unknown;
  try {
    root = (parser.parse(whole) as Node).nvidia_smi_log;
  } catch {
    return { gpus: [], complete: false };
  }
  const log = child(root);
  const driverVersion = textOf(log.driver_version);
  const gpus: XmlGpu[] = [];
  for (const element of list(log.gpu)) {
    const gpu = gpuOf(child(element));
    if (gpu) gpus.push(gpu);
  }
  return { gpus, complete, ...(driverVersion === undefined ? {} : { driverVersion }) };
}

function gpuOf(node: Node): XmlGpu | undefined {
  const uuid = textOf(node.uuid);
  if (uuid === undefined || !isUuid(uuid)) return undefined;
  const mig = child(node.mig_mode);
  const power = child(node.gpu_power_readings ?? node.power_readings);
  return {
    uuid,
    name: textOf(node.product_name) ?? "",
    memory: memoryOf(child(node.fb_memory_usage)),
    devices: list(child(node.mig_devices).mig_device).flatMap((device) => migDeviceOf(child(device)) ?? []),
    processes: list(child(node.processes).process_info).flatMap((process) => processOf(child(process)) ?? []),
    ...defined("pciBusId", textOf(child(node.pci).pci_bus_id) ?? textOf(node["@id"])),
    ...defined("addressingMode", textOf(node.addressing_mode)),
    ...defined("migCurrent", textOf(mig.current_mig)),
    ...defined("migPending", textOf(mig.pending_mig)),
    ...defined("computeMode", textOf(node.compute_mode)),
    ...defined("loadPercent", numberIn(child(node.utilization).gpu_util)),
    ...defined("temperatureC", numberIn(child(node.temperature).gpu_temp)),
    ...defined("powerW", numberIn(power.instant_power_draw ?? power.power_draw ?? power.average_power_draw)),
  };
}

function migDeviceOf(node: Node): XmlMigDevice | undefined {
  const deviceIndex = wholeIn(node.index);
  const gpuInstanceId = wholeIn(node.gpu_instance_id);
  if (deviceIndex === undefined || gpuInstanceId === undefined) return undefined;
  const computeInstanceId = wholeIn(node.compute_instance_id) ?? 0;
  return { deviceIndex, gpuInstanceId, computeInstanceId, memory: memoryOf(child(node.fb_memory_usage)) };
}

function processOf(node: Node): XmlProcess | undefined {
  const pid = wholeIn(node.pid);
  const type = textOf(node.type);
  if (pid === undefined || (type !== undefined && !type.startsWith("C") && !type.startsWith("M"))) return undefined;
  return {
    pid,
    name: (textOf(node.process_name) ?? "").slice(0, 300),
    ...defined("usedMb", wholeIn(node.used_memory)),
    ...defined("gpuInstanceId", wholeIn(node.gpu_instance_id)),
    ...defined("computeInstanceId", wholeIn(node.compute_instance_id)),
  };
}

function memoryOf(node: Node): XmlMemory {
  return {
    ...defined("totalMb", wholeIn(node.total)),
    ...defined("reservedMb", wholeIn(node.reserved)),
    ...defined("usedMb", wholeIn(node.used)),
    ...defined("freeMb", wholeIn(node.free)),
  };
}

/** Elements that are missing, doubled or plain text become an empty node: looking into them finds nothing. */
function child(value: unknown): Node {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Node) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  return wordOf(text) === undefined ? text : undefined;
}

function numberIn(value: unknown): number | undefined {
  return typeof value === "string" ? numberOf(value.trim()) : undefined;
}

function wholeIn(value: unknown): number | undefined {
  return typeof value === "string" ? mibOf(value.trim()) : undefined;
}

function defined<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}
