import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const src = resolve(import.meta.dirname, "../src");

/**
 * Which rooms a room may import from, besides itself. Arrows point inwards: mechanism and policy know the engine's words, the api
 * knows both sides of the border, the doors know the api. serve.ts, house and cli put everything together and know all.
 */
const arrows: Record<string, readonly string[]> = {
  engine: [],
  policy: ["engine"],
  monitor: ["engine"],
  // The lines of docs/workers.md are the same on both sides.
  executor: ["engine", "kit"],
  kit: [],
  replay: ["engine", "policy"],
  store: ["engine"],
  gate: ["engine", "executor", "store"],
  api: ["engine", "gate", "executor", "monitor"],
  observe: [],
  transport: ["api", "engine", "observe"],
  config: ["engine", "transport"],
  // sluice/client: whoever calls a server from a program. The gRPC stack of the door is what it shares with the command line.
  client: ["engine", "transport"],
};

/** Rooms that may import the generated code. The others speak the engine's words. */
const speakProto = new Set(["api", "transport", "house", "cli", "client", "serve.ts"]);

const knowAll = new Set(["house", "cli", "serve.ts"]);

interface Import {
  readonly file: string;
  readonly target: string;
}

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".ts"))
    .map((f) => join(folder, f));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, "utf8");
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^"';]*?from\s*"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)\s*import\s*"([^"]+)"/g,
  );
  return [...found].map((m) => ({ file, target: m[1] ?? m[2] ?? m[3] ?? "" }));
}

function roomOf(path: string): string {
  return relative(src, path).split("/")[0] ?? "";
}

const all = sources(src).flatMap(importsOf);

describe("the house", () => {
  it("is found by this test at all", () => {
    expect(all.length).toBeGreaterThan(300);
    expect(new Set(all.map((i) => roomOf(i.file))).size).toBeGreaterThanOrEqual(10);
  });

  it("has arrows that point inwards only", () => {
    const wrong = all
      .filter((i) => i.target.startsWith("."))
      .map((i) => ({
        from: roomOf(i.file),
        to: roomOf(resolve(dirname(i.file), i.target)),
        file: relative(src, i.file),
        target: i.target,
      }))
      .filter((i) => i.from !== i.to && !knowAll.has(i.from) && !arrows[i.from]?.includes(i.to));
    expect(wrong).toEqual([]);
  });

  // Guards a server whose files an update replaces while it runs: a file that it reads only later may be gone by then.
  it("reads soon after its start whatever it does not need for that", () => {
    const late = (file: string) =>
      [...readFileSync(file, "utf8").matchAll(/import\("([^"]+)"\)/g)].map(([, target = ""]) =>
        target.startsWith(".") ? relative(src, resolve(dirname(file), target)) : target,
      );
    const soon = new Set(late(join(src, "house/late-parts.ts")));
    const needed = sources(src)
      .filter((file) => !["cli", "house"].includes(roomOf(file)))
      .flatMap(late);
    expect(needed).toContain("executor/worker-process.ts");
    expect(new Set(needed)).toEqual(soon);
  });

  it("has no room that nobody thought about", () => {
    const rooms = new Set(all.map((i) => roomOf(i.file)));
    expect([...rooms].filter((r) => arrows[r] === undefined && !knowAll.has(r))).toEqual([]);
  });

  it("has an executor that knows no more of the workers' kit than its lines", () => {
    const wrong = all
      .filter((i) => roomOf(i.file) === "executor" && i.target.includes("/kit/"))
      .filter((i) => !i.target.endsWith("/kit/line-transport.ts"));
    expect(wrong).toEqual([]);
  });

  it("speaks proto only at its edge", () => {
    const wrong = all.filter((i) => i.target.startsWith("#gen/") && !speakProto.has(roomOf(i.file)));
    expect(wrong.map((i) => relative(src, i.file))).toEqual([]);
  });

  it("has an engine that imports nothing but itself", () => {
    const wrong = all.filter((i) => roomOf(i.file) === "engine" && !i.target.startsWith("./"));
    expect(wrong).toEqual([]);
  });

  it("has an engine and built-in policies without clock, timer, chance, input or output", () => {
    const forbidden =
      /\bDate\b|performance|setTimeout|setInterval|setImmediate|queueMicrotask|Math\.random|crypto|\bprocess\.(?:env|argv|pid|hrtime|nextTick|exit|stdout|stderr)|console\.|\bawait\b|\basync\b|globalThis/;
    const pure = [
      ...sources(join(src, "engine")),
      ...["permissive", "safety", "queue"].map((p) => join(src, "policy", `${p}.ts`)),
    ];
    const wrong = pure.flatMap((file) =>
      readFileSync(file, "utf8")
        .split("\n")
        .map((line, i) => ({ line: line.replace(/\/\/.*|^\s*\/?\*.*/, ""), at: `${relative(src, file)}:${i + 1}` }))
        .filter(({ line }) => forbidden.test(line)),
    );
    expect(wrong).toEqual([]);
  });

  it("has no room over 400 lines in one file, and no cupboard", () => {
    const files = sources(src);
    expect(files.filter((f) => readFileSync(f, "utf8").split("\n").length > 401).map((f) => relative(src, f))).toEqual([]);
    expect(files.filter((f) => /(^|\/)(utils?|helpers?|common|misc|lib)\.ts$/.test(f))).toEqual([]);
  });
});
