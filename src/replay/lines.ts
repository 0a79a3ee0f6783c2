import { closeSync, openSync, readSync } from "node:fs";
import { badInput } from "./bad-input.ts";

/** One line of a text file. */
export interface Line {
  /** 1 is the first. */
  readonly number: number;
  /** Without its line break. */
  readonly text: string;
}

const chunkBytes = 1 << 20;
/** Longer than any line that is meant; a file without line breaks is not read into memory. */
const longestLine = 1 << 20;

/**
 * The lines of a UTF-8 file, read piece by piece. A byte order mark is skipped, and \r\n is a line break too.
 * @throws Failure INVALID_ARGUMENT when it cannot be read.
 */
export function* linesOf(path: string): Generator<Line> {
  const file = reading(path, () => openSync(path, "r"));
  try {
    const buffer = Buffer.allocUnsafe(chunkBytes);
    const decoder = new TextDecoder();
    let number = 0;
    let rest = "";
    for (;;) {
      const bytes = reading(path, () => readSync(file, buffer, 0, chunkBytes, null));
      const parts = (rest + decoder.decode(buffer.subarray(0, bytes), { stream: bytes > 0 })).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) yield { number: ++number, text: withoutReturn(part) };
      if (rest.length > longestLine) throw badInput(path, `line ${number + 1} is longer than ${longestLine} characters`);
      if (bytes === 0) break;
    }
    if (rest !== "") yield { number: number + 1, text: withoutReturn(rest) };
  } finally {
    closeSync(file);
  }
}

function reading<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw badInput(path, `cannot be read: ${(error as Error).message}`);
  }
}

function withoutReturn(text: string): string {
  return text.endsWith("\r") ? text.slice(0, -1) : text;
}
