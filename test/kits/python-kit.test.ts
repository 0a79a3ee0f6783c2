import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { running } from "../executor/house.ts";
import { waitFor } from "../wait-for.ts";
import { initializeParams, KitProcess } from "./kit-process.ts";
import { describeKit } from "./kit-promises.ts";

const root = resolve(import.meta.dirname, "../..");
// SLUICE_PYTHON names another one than the first on the PATH.
const python = process.env.SLUICE_PYTHON ?? "python3";
const present = spawnSync(python, ["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]).status === 0;
if (!present) {
  // biome-ignore lint/suspicious/noConsole: a check that is not made must be seen
  console.warn("SKIPPED: the kit and the examples for Python were not tried: python3 of 3.9 or newer is missing");
}
const linux = process.platform === "linux";
// -B: nothing is written beside the sources.
const probe = [python, "-B", join(import.meta.dirname, "programs/probe.py")];

const open: KitProcess[] = [];
afterAll(async () => {
  await Promise.all(open.map((kit) => kit.kill()));
});
async function start(command: readonly string[], params: object = initializeParams): Promise<KitProcess> {
  const kit = new KitProcess(command);
  open.push(kit);
  expect((await kit.call("initialize", params)).error).toBeUndefined();
  return kit;
}

describe.runIf(present)("the kit for Python", () => {
  describeKit("python", () => probe);

  it("takes an exception for out of memory by the name of its class, without importing the framework", async () => {
    const kit = await start(probe);
    const { error } = await kit.run({ do: "framework-class" });
    expect(error).toEqual({ code: -32001, message: "OutOfMemoryError: no room", data: { resource: "gpu" } });
  });

  it("answers sys.exit as a fatal error instead of going quiet", async () => {
    const kit = await start(probe);
    const { error } = await kit.run({ do: "exit" });
    expect(error).toMatchObject({ code: -32000, message: expect.stringContaining("sys.exit(3)"), data: { fatal: true } });
  });

  it("writes whole lines when several threads talk at the same time and the system takes them in pieces", () => {
    const program = join(import.meta.dirname, "programs/pieces.py");
    const { status, stdout, stderr } = spawnSync(python, ["-B", program], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const told = stdout
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { params: unknown }).params);
    const expected = ["a", "b", "c"].flatMap((name) => Array.from({ length: 20 }, (_, n) => [name, n]));
    expect(told.sort()).toEqual(expected.sort());
  });

  it("keeps stdin for itself: a child that reads it finds it empty", async () => {
    const kit = await start(probe);
    expect((await kit.run({ do: "print" })).result).toBe("printed");
    await waitFor(() => kit.stderr.includes("read ''"), "what the child read");
  });

  it.runIf(linux)("shows its end to the server while a child that it forked lives on", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-kit-"));
    const until = join(folder, "until");
    expect(spawnSync("mkfifo", [until]).status).toBe(0);
    const kit = await start(probe);
    const child = (await kit.run({ do: "fork", until })).result as number;
    try {
      const closed = once(kit.child.stdout, "close");
      kit.child.stdin.end();
      await closed;
      expect(running(child)).toBe(true);
    } finally {
      // Opening the pipe is what it waits for.
      const writer = spawn("sh", ["-c", 'exec 3>"$0"', until]);
      await once(writer, "exit");
    }
    await waitFor(() => !running(child), "the forked child to end");
    rmSync(folder, { recursive: true });
  });

  it.runIf(linux)("is killed with whoever started it even when stdin stays open", async () => {
    // Whoever writes to its stdin outlives whoever started it.
    const writer = spawn("cat", { stdio: ["pipe", "pipe", "inherit"] });
    const code = `const [program, ...args] = ${JSON.stringify(probe)};
      const child = require("node:child_process").spawn(program, args, { stdio: ["inherit", "inherit", "ignore"] });
      require("node:fs").writeSync(3, child.pid + "\\n");
      setInterval(() => {}, 1000);`;
    const between = spawn(process.execPath, ["-e", code], { stdio: [writer.stdout, "pipe", "inherit", "pipe"] });
    try {
      const [data] = (await once(between.stdio[3] as NodeJS.ReadableStream, "data")) as [Buffer];
      const pid = Number(data.toString());
      writer.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: initializeParams })}\n`);
      let answer = "";
      between.stdout?.on("data", (text: Buffer) => {
        answer += text;
      });
      await waitFor(() => answer.includes('"capabilities"'), "it to be ready");
      between.kill("SIGKILL");
      await waitFor(() => !running(pid), "the worker to be gone");
      expect(running(writer.pid as number)).toBe(true);
    } finally {
      between.kill("SIGKILL");
      writer.kill("SIGKILL");
    }
  });

  it("has an example in its README that runs as written", async () => {
    const readme = readFileSync(join(root, "kits/python/README.md"), "utf8");
    const code = /```python\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
    expect(code.trim().split("\n").length).toBeLessThanOrEqual(15);
    const kit = new KitProcess([python, "-B", "-c", code], { PYTHONPATH: join(root, "kits/python") });
    open.push(kit);
    expect((await kit.call("initialize", initializeParams)).error).toBeUndefined();
    expect((await kit.run({ text: "to be or not to be" })).result).toEqual({ words: 6 });
    kit.ask("shutdown", {});
    expect(await kit.ended).toEqual({ code: 0, signal: null });
  });
});

describe.runIf(present)("the examples for Python", () => {
  const example = (name: string) => [python, "-B", join(root, "examples/plugins", name)];
  let torch = false;
  beforeAll(() => {
    torch = spawnSync(python, ["-c", "import torch"]).status === 0;
  });

  it("echo-worker remembers how often it was called, and builds its table again after a release", async () => {
    const kit = await start(example("echo_worker.py"));
    expect(kit.notifications("progress").at(-1)?.params).toEqual({ fraction: 1, message: "10001 rows" });
    const args = { text: "hello", steps: 3, step_ms: 1 };
    expect((await kit.run(args)).result).toEqual({ ...args, length_squared: 25, calls: 1 });
    expect(
      kit
        .notifications("progress")
        .slice(-3)
        .map((m) => m.params?.message),
    ).toEqual(["step 1 of 3", "step 2 of 3", "step 3 of 3"]);
    expect((await kit.call("release", {})).result).toBeNull();
    expect((await kit.run({})).result).toEqual({ length_squared: 0, calls: 2 });
    expect(kit.notifications("log").map((m) => m.params?.message)).toEqual(["building the table again"]);
  });

  it("echo-worker takes the longest text that its manifest allows", async () => {
    const manifest = JSON.parse(readFileSync(join(root, "examples/plugins/echo-worker.json"), "utf8"));
    const { maxLength } = manifest.arguments_schema.properties.text;
    const kit = await start(example("echo_worker.py"));
    expect((await kit.run({ text: "x".repeat(maxLength) })).result).toMatchObject({ length_squared: maxLength ** 2 });
  });

  it("echo-worker can be cancelled between its steps", async () => {
    const kit = await start(example("echo_worker.py"));
    const id = kit.execute({ steps: 1000, step_ms: 10 });
    await waitFor(() => kit.notifications("progress").some((m) => m.params?.message === "step 1 of 1000"), "the first step");
    kit.notify("$/cancelRequest", { id });
    expect((await kit.answerTo(id)).error?.code).toBe(-32800);
  });

  it("torch-worker says what to install when PyTorch is missing, and works when it is there", {
    timeout: 120_000,
  }, async () => {
    const kit = new KitProcess(example("torch_worker.py"));
    open.push(kit);
    const answer = await kit.call("initialize", initializeParams);
    if (torch) {
      expect(answer.error).toBeUndefined();
      expect((await kit.run({ size: 2, repeat: 2 })).result).toMatchObject({ size: 2, repeat: 2 });
      expect((await kit.call("release", {})).result).toBeNull();
      expect((await kit.run({ size: 1 })).result).toMatchObject({ size: 1 });
      return;
    }
    expect(answer.error).toEqual({
      code: -32000,
      message: expect.stringMatching(/^PyTorch cannot be imported .*pip install torch/),
      data: { fatal: true },
    });
    expect(kit.stderr).not.toContain("Traceback");
  });
});
