import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";

/** A folder that stands for `/`, with these files in it; removed when the test ends. */
export function fixtureRoot(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "sluice-root-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  addFiles(root, files);
  return root;
}

export function addFiles(root: string, files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

/** A line of /proc/<pid>/stat, as the kernel writes it. */
export function statLine(
  pid: number,
  ppid: number,
  options: { name?: string; state?: string; start?: string; threads?: number } = {},
): string {
  const { name = "worker", state = "S", start = String(1000 + pid), threads = 1 } = options;
  return `${pid} (${name}) ${state} ${ppid} ${pid} ${pid} 0 -1 4194560 98 0 0 0 7 3 0 0 20 0 ${threads} 0 ${start} 3133440 379 18446744073709551615 1 1 0\n`;
}

/** A /proc with these processes; each a line of statLine. */
export function procFiles(...lines: readonly string[]): Record<string, string> {
  const files: Record<string, string> = { "proc/self/stat": statLine(1, 0) };
  for (const line of lines) files[`proc/${Number.parseInt(line, 10)}/stat`] = line;
  return files;
}

export function mib(n: number): string {
  return String(n * 1024 * 1024);
}
