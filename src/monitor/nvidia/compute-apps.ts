import type { Mib } from "../../engine/sample.ts";
import { isUuid, mibOf, splitRow, wordOf } from "./csv-row.ts";

/** Columns of `--query-compute-apps`; the process name is free text and stands last. */
export const computeAppsColumns = "gpu_uuid,pid,used_memory,process_name";

export interface ComputeApp {
  /** The physical GPU; on MIG hosts the parent. */
  readonly gpuUuid: string;
  readonly pid: number;
  readonly usedMb?: Mib;
  readonly name: string;
  /** True when nvidia-smi could not find out the name, as happens to processes of another PID namespace. */
  readonly nameless: boolean;
}

export interface ComputeApps {
  readonly list: readonly ComputeApp[];
  /** GPUs for which the list is known to be incomplete (`[Insufficient Permissions]` in the place of a pid). */
  readonly incomplete: ReadonlySet<string>;
  /** Lines that were no rows. More than none means that the answer is not to be trusted. */
  readonly rejected: number;
}

/** Reads `--query-compute-apps=gpu_uuid,pid,used_memory,process_name --format=csv,noheader,nounits`. */
export function parseComputeApps(text: string): ComputeApps {
  const list: ComputeApp[] = [];
  const incomplete = new Set<string>();
  let rejected = 0;
  const lines = text.split("\n");
  if (lines.pop() !== "") rejected++;
  for (const line of lines) {
    if (line.trim() === "") continue;
    const app = parseComputeApp(line.replace(/\r$/, ""));
    if (app === undefined) rejected++;
    else if (typeof app === "string") incomplete.add(app);
    else list.push(app);
  }
  return { list, incomplete, rejected };
}

/** A process, or the uuid of a GPU that does not tell its processes, or undefined for a line that is no row. */
function parseComputeApp(line: string): ComputeApp | string | undefined {
  const [gpuUuid, pidCell, usedCell, nameCell] = splitRow(line, 4, true) ?? [];
  if (gpuUuid === undefined || pidCell === undefined || usedCell === undefined || nameCell === undefined) return undefined;
  if (!isUuid(gpuUuid)) return undefined;
  if (wordOf(pidCell) !== undefined) return gpuUuid;
  if (!/^\d{1,10}$/.test(pidCell)) return undefined;
  const usedMb = mibOf(usedCell);
  if (usedMb === undefined && wordOf(usedCell) === undefined) return undefined;
  return {
    gpuUuid,
    pid: Number(pidCell),
    name: nameCell.slice(0, 300),
    nameless: nameCell.startsWith("["),
    ...(usedMb === undefined ? {} : { usedMb }),
  };
}
