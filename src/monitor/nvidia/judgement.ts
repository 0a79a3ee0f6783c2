import type { GpuHealth, Mib } from "../../engine/sample.ts";
import { isAbsence } from "./csv-row.ts";
import type { GpuRow } from "./gpu-row.ts";

/** How a GPU is, and why it is not well. */
export interface Judgement {
  readonly health: GpuHealth;
  /** Empty when health is `ok`. */
  readonly message: string;
}

/** Parts without memory of their own, by product name. */
const integrated = /\b(?:GB10|N1X|Thor|Orin|Xavier|Jetson|Tegra|DGX Spark)\b|\(nvgpu\)/i;

/**
 * True for parts that share the host's memory (GB10, Jetson). Some print small numbers where others print `[N/A]`, so the name
 * alone decides; an unknown name counts when its memory is `[N/A]` and its address space is the host's.
 */
export function isUnified(row: Pick<GpuRow, "name" | "addressingMode" | "words">): boolean {
  if (row.name !== undefined && integrated.test(row.name)) return true;
  const word = row.words["memory.total"];
  return row.addressingMode === "ATS" && word !== undefined && isAbsence(word);
}

/** True for words in a memory cell that leave hope for `-q -x`. Words like `GPU requires reset` are about the GPU, not the cell. */
export function xmlMayTell(word: string | undefined): boolean {
  return word !== undefined && (isAbsence(word) || word === "Insufficient Permissions");
}

/**
 * Whether new work may be admitted on what this row says. Only a row with uuid, total, used and free, all plausible, and without
 * an error word anywhere is `ok`: a broken card has been seen to print `ERR!` everywhere but 0 MiB of use.
 */
export function judge(row: GpuRow, unified: boolean): Judgement {
  const { words } = row;
  const identity = words.uuid ?? words.index;
  const memoryWords = [words["memory.total"], words["memory.used"], words["memory.free"]].filter((word) => word !== undefined);
  const told = identity === undefined ? memoryWords : [identity, ...memoryWords];
  // Nothing runs on it before, whatever a policy allows where memory is only unknown; and a fresh nvidia-smi cannot even identify it.
  if (told.some(wantsReset)) return { health: "lost", message: resetAdvice };
  if (identity !== undefined) return lost(identity);
  const gone = memoryWords.find((word) => /lost/i.test(word));
  if (gone !== undefined) return lost(gone);
  const error = words.name ?? errorWord(words["temperature.gpu"]);
  if (error !== undefined)
    return degraded(`prints [${error}] where its name or temperature should be; look into dmesg for Xid messages`);
  if (row.uuid === undefined) return degraded("has no uuid");
  if (row.migCurrent === "Enabled") return degraded("has just been switched to MIG; its devices are being looked for");
  if (row.migPending !== undefined && row.migCurrent !== undefined && row.migPending !== row.migCurrent) {
    return degraded(`is about to change its MIG mode to ${row.migPending}; that happens at its next reset`);
  }
  if (unified) return { health: "ok", message: "" };
  const word = memoryWords[0];
  if (word !== undefined) return degraded(memoryAdvice(word));
  return plausible(row.totalMb, row.reservedMb, row.usedMb, row.freeMb);
}

/** What to do about a GPU in whose place nvidia-smi prints `GPU requires reset`. */
export const resetAdvice = "needs a reset (nvidia-smi --gpu-reset, or a reboot)";

/** True for the word that stands in its cells, and for a sentence that has it. */
export function wantsReset(text: string): boolean {
  return /requires reset/i.test(text);
}

/** Judges memory figures that came without words (of a MIG device). */
export function plausible(
  total: Mib | undefined,
  reserved: Mib | undefined,
  used: Mib | undefined,
  free: Mib | undefined,
): Judgement {
  if (total === undefined || used === undefined || free === undefined) return degraded("does not tell its memory");
  // Each figure is rounded to MiB on its own, hence the few MiB of slack.
  if (total <= 0 || used > total || free > total || used + free + (reserved ?? 0) > total + 4) {
    return degraded(`tells impossible figures: ${total} MiB total, ${used} used, ${free} free`);
  }
  return { health: "ok", message: "" };
}

function errorWord(word: string | undefined): string | undefined {
  if (word === undefined || isAbsence(word) || word === "Insufficient Permissions" || word === "Function Not Found")
    return undefined;
  return word;
}

function memoryAdvice(word: string): string {
  if (isAbsence(word)) return `does not tell its memory ([${word}])`;
  if (word === "Insufficient Permissions") {
    return "does not let this user read its memory ([Insufficient Permissions]); inside a MIG container make the MIG devices visible";
  }
  return `prints [${word}] where its memory should be; look into dmesg for Xid messages`;
}

function lost(word: string): Judgement {
  return { health: "lost", message: `does not answer ([${word}]); reset it or reboot to recover it` };
}

function degraded(message: string): Judgement {
  return { health: "degraded", message };
}
