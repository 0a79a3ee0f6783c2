import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";

/**
 * Compares text with a file in this folder. `UPDATE_GOLDEN=1` writes the file instead. JSON is kept as .json.txt, so that no
 * formatter takes it for a file of its own.
 */
export function expectGolden(file: string, actual: string): void {
  const path = new URL(file, import.meta.url);
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(path, actual);
  expect(existsSync(path), `test/golden/${file} is missing; UPDATE_GOLDEN=1 writes it`).toBe(true);
  expect(actual).toBe(readFileSync(path, "utf8"));
}
