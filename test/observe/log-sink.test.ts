import { execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { logSink } from "../../src/observe/log-sink.ts";
import { waitFor } from "../wait-for.ts";

/** A named pipe with both ends open. Reading does not wait. */
function pipe() {
  const dir = mkdtempSync(join(tmpdir(), "sluice-log-"));
  const path = join(dir, "pipe");
  execFileSync("mkfifo", [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  const chunk = Buffer.alloc(65_536);
  let said = "";
  const read = () => {
    for (;;) {
      try {
        const n = readSync(reader, chunk);
        if (n === 0) return said;
        said += chunk.toString("latin1", 0, n);
      } catch {
        return said;
      }
    }
  };
  const close = () => {
    closeSync(reader);
    closeSync(writer);
    rmSync(dir, { recursive: true });
  };
  return { writer, read, close };
}

/** Reads as a reader that keeps up does, until `found` finds something. */
async function readOn<T>(read: () => string, found: (lines: ReturnType<typeof numbers>) => T | undefined): Promise<T> {
  const reading = setInterval(read, 2);
  try {
    return await waitFor(() => found(numbers(read())), "the lines");
  } finally {
    clearInterval(reading);
  }
}

const line = (n: number) => `${JSON.stringify({ n, pad: "x".repeat(1_000) })}\n`;
/** Its whole lines. */
const numbers = (text: string) =>
  text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .filter((l) => l !== "")
    .map((l) => JSON.parse(l) as { n?: number; lost?: number });

describe("the log over a pipe", () => {
  it("is out before the call returns", () => {
    const { writer, read, close } = pipe();
    logSink(writer).write(line(1));
    expect(numbers(read())).toMatchObject([{ n: 1 }]);
    close();
  });

  it("that nobody reads does not hold up anything; what is kept comes in order and whole when it is read again", async () => {
    const { writer, read, close } = pipe();
    const sink = logSink(writer);
    // Ten times what the pipe holds, and less than what is kept.
    for (let n = 0; n < 600; n++) sink.write(line(n));
    const all = await readOn(read, (lines) => (lines.length === 600 ? lines : undefined));
    expect(all.map((l) => l.n)).toEqual(Array.from({ length: 600 }, (_, n) => n));
    close();
  });

  it("that nobody reads for long loses lines, in one piece, and says how many", async () => {
    const { writer, read, close } = pipe();
    const sink = logSink(writer);
    for (let n = 0; n < 3_000; n++) sink.write(line(n));
    const told = await readOn(read, (lines) => lines.find((l) => l.lost !== undefined));
    sink.write(line(9_999));
    const seen = numbers(read());
    const kept = seen.filter((l) => l.n !== undefined && l.n < 9_999);
    expect(kept.map((l) => l.n)).toEqual(Array.from({ length: kept.length }, (_, n) => n));
    expect(kept.length + (told.lost ?? 0)).toBe(3_000);
    expect(seen.at(-1)).toMatchObject({ n: 9_999 });
    close();
  });

  it("whose reader has gone does not end anything", () => {
    const { writer, close } = pipe();
    const sink = logSink(writer);
    close();
    expect(() => sink.write(line(1))).not.toThrow();
  });
});

describe("the log of a process", () => {
  const sink = new URL("../../dist/observe/log-sink.js", import.meta.url).href;
  const program = `import { logSink } from ${JSON.stringify(sink)}; const s = logSink(2); for (let n = 0; n < 50; n++) s.write(JSON.stringify({ n }) + "\\n"); if (process.argv[1] === "throw") throw new Error("the end"); process.exit(3);`;

  async function linesOf(how: string, stdio: "pipe" | number): Promise<{ code: number | null; said: string }> {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program, how], { stdio: ["ignore", "ignore", stdio] });
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { code, said };
  }

  it.each(["exit", "throw"])("that ends at once (%s) is all there, over a socket as over a file", async (how) => {
    const all = Array.from({ length: 50 }, (_, n) => JSON.stringify({ n })).join("\n");
    expect((await linesOf(how, "pipe")).said).toContain(all);
    const dir = mkdtempSync(join(tmpdir(), "sluice-log-"));
    const fd = openSync(join(dir, "log"), "w");
    await linesOf(how, fd);
    closeSync(fd);
    expect(readFileSync(join(dir, "log"), "utf8")).toContain(all);
    rmSync(dir, { recursive: true });
  });
});
