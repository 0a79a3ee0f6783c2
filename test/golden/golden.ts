import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";

/** Compares text with a file in this folder. `UPDATE_GOLDEN=1` writes the file instead. */
export function expectGolden(file: string, actual: string): void {
  const path = new URL(file, import.meta.url);
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(path, actual);
  expect(existsSync(path), `test/golden/${file} is missing; UPDATE_GOLDEN=1 writes it`).toBe(true);
  expect(actual).toBe(readFileSync(path, "utf8"));
}
