import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Registry } from "../../src/executor/registry.ts";
import { all, house, never, request } from "./house.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-plugins-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const manifest = (name: string, more: object = {}) => JSON.stringify({ name, command: ["true"], resources: {}, ...more });
const file = (name: string, text: string) => writeFileSync(join(folder, name), text);

it("loads what is right and names by file and field what is not", async () => {
  file("b.json", manifest("b"));
  file("a.json", manifest("a"));
  file("typo.json", manifest("typo", { resources: { requires_gpu: true, min_gpu_vram: 8000 } }));
  file("broken.json", "{");
  file("readme.txt", "no manifest");
  mkdirSync(join(folder, "folder.json"));
  const registry = new Registry([folder, join(folder, "missing"), folder]);
  const { plugins, errors } = await registry.loadAll();
  expect(plugins.map((p) => p.manifest.name)).toEqual(["a", "b"]);
  expect(registry.get("a")).toMatchObject({ enabled: true, source: join(folder, "a.json"), cwd: folder });
  expect(errors).toEqual([
    { file: join(folder, "broken.json"), field: "", message: expect.stringContaining("is not JSON") },
    { file: join(folder, "folder.json"), field: "", message: "is not a file" },
    { file: join(folder, "typo.json"), field: "resources.min_gpu_vram", message: expect.stringContaining("min_gpu_vram_mb") },
    { file: join(folder, "missing"), field: "", message: expect.stringContaining("does not exist: create it") },
  ]);
});

it("does not wait for a named pipe or a broken link in the folder", async () => {
  execFileSync("mkfifo", [join(folder, "pipe.json")]);
  symlinkSync(join(folder, "nowhere"), join(folder, "link.json"));
  file("ok.json", manifest("ok"));
  const { plugins, errors } = await new Registry([folder]).loadAll();
  expect(plugins).toHaveLength(1);
  expect(errors.map((e) => e.message)).toEqual(["cannot be read (ENOENT)", "is not a file"]);
});

it("keeps the first of two files with the same name and names it to the second", async () => {
  file("1.json", manifest("same", { version: "first" }));
  file("2.json", manifest("same", { version: "second" }));
  const registry = new Registry([folder]);
  expect((await registry.loadAll()).errors).toEqual([
    { file: join(folder, "2.json"), field: "name", message: `"same" is already the name in ${join(folder, "1.json")}` },
  ]);
  expect(registry.get("same").manifest.version).toBe("first");
});

it("replaces, forgets and finds again what is loaded again, and remembers what was disabled and registered", async () => {
  file("a.json", manifest("a", { version: "1" }));
  file("gone.json", manifest("gone"));
  const registry = new Registry([folder]);
  await registry.loadAll();
  registry.setEnabled("a", false);
  registry.register(JSON.parse(manifest("extra")), "manifest");
  file("a.json", manifest("a", { version: "2" }));
  unlinkSync(join(folder, "gone.json"));
  await Promise.all([registry.loadAll(), registry.loadAll()]);
  expect(registry.list().map((p) => [p.manifest.name, p.manifest.version, p.enabled, p.source])).toEqual([
    ["a", "2", false, join(folder, "a.json")],
    ["extra", "", true, "registered"],
  ]);
  expect(() => registry.get("gone")).toThrow('There is no plugin "gone". Known: a, extra.');
});

it("names the fields of a manifest that cannot be registered", () => {
  const registry = new Registry([]);
  const bad = { name: "x", command: ["x"], resources: { min_gpu_vram_mb: 5 } };
  expect(() => registry.register(bad, "manifest")).toThrow("manifest.resources.min_gpu_vram_mb: needs requires_gpu");
  expect(registry.list()).toEqual([]);
});

it("runs a plugin in the folder of its manifest, and lets one that runs keep its own manifest", async () => {
  const code = 'process.on("SIGUSR2", () => process.exit(0)); console.log(process.cwd()); setInterval(() => {}, 1000)';
  file("p.json", manifest("p", { command: [process.execPath, "-e", code] }));
  const registry = new Registry([folder]);
  await registry.loadAll();
  const { executor, admission } = house({ registry });
  const execution = executor.start(request("p"));
  const events = executor.watch(execution, never);
  for (let next = await events.next(); next.value?.kind !== "log"; ) next = await events.next();
  file("p.json", manifest("p", { command: [process.execPath, "-p", "'new'"] }));
  await registry.loadAll();
  executor.pluginsChanged();
  const later = executor.start(request("p"));
  process.kill(admission.attached[0] as number, "SIGUSR2");
  expect(await execution.done).toMatchObject({ outcome: { ok: true, result: `${folder}\n` } });
  expect(await later.done).toMatchObject({ outcome: { ok: true, result: "new\n" } });
});

it("has examples that load and run", async () => {
  const registry = new Registry([resolve(import.meta.dirname, "../../examples/plugins")]);
  const { plugins, errors } = await registry.loadAll();
  expect(errors).toEqual([]);
  expect(plugins.map((p) => p.manifest.name)).toEqual(["echo-worker", "hello", "torch-worker", "word-count"]);
  const { executor } = house({ registry });
  const hello = await executor.outcome(executor.start(request("hello", { arguments: { name: "Ada" } })), never);
  expect(hello).toEqual({ ok: true, result: "Hello, Ada!\n" });
  const events = await all(executor.watch(executor.start(request("word-count", { arguments: { text: "a b  c\nd" } })), never));
  expect(events.at(-1)).toEqual({ kind: "result", result: { words: 4, lines: 2, gpus: "GPU-0" } });
  expect(events).toContainEqual({ kind: "log", line: "counting 8 characters", stderr: true });
  await executor.shutdown(0);
});

const hasPython = spawnSync("python3", ["--version"]).status === 0;
if (!hasPython) process.stderr.write("SKIPPED: the example echo-worker needs python3, which is not here.\n");

it.skipIf(!hasPython)("has an example of a worker that answers twice from one process", async () => {
  const registry = new Registry([resolve(import.meta.dirname, "../../examples/plugins")]);
  await registry.loadAll();
  const { executor, admission } = house({ registry });
  const ask = () => executor.outcome(executor.start(request("echo-worker", { arguments: { text: "hi" } })), never);
  const outcomes = [await ask(), await ask()];
  await executor.shutdown(0);
  expect(outcomes).toMatchObject([
    { ok: true, result: { text: "hi", calls: 1 } },
    { ok: true, result: { text: "hi", calls: 2 } },
  ]);
  expect([admission.attached.length, admission.held]).toEqual([1, 0]);
});
