import fc from "fast-check";
import { expect, it } from "vitest";
import { parseManifest, validateManifest } from "../../src/executor/manifest.ts";

const whisper = {
  name: "whisper-local",
  version: "1.0.0",
  description: "Turns speech into text.\nNeeds ffmpeg.",
  resources: { requires_gpu: true, min_gpu_vram_mb: 4096, min_system_ram_mb: 8192 },
  command: ["python3", "worker.py", "--audio={audio}"],
  mode: "command",
  max_concurrency: 2,
  arguments_schema: { type: "object", properties: { audio: { type: "string", format: "uri" } }, required: ["audio"] },
  env: { HF_HOME: "/models", LD_PRELOAD: "/usr/lib/hook.so" },
};

function problems(value: unknown): string[] {
  const result = validateManifest(value);
  return result.ok ? [] : result.problems.map((p) => `${p.field}: ${p.message}`);
}

it("reads every field of a manifest", () => {
  const result = validateManifest(whisper);
  expect(result).toMatchObject({
    ok: true,
    manifest: {
      name: "whisper-local",
      version: "1.0.0",
      requirements: { gpuCount: 1, vramMb: 4096, ramMb: 8192, gpuUuids: [], exclusive: false },
      command: ["python3", "worker.py", "--audio={audio}"],
      mode: "command",
      maxConcurrency: 2,
      env: { HF_HOME: "/models", LD_PRELOAD: "/usr/lib/hook.so" },
    },
  });
});

const chat = {
  name: "chat",
  resources: { requires_gpu: true, min_gpu_vram_mb: 4096 },
  command: ["python3", "worker.py"],
  mode: "worker",
  pin: true,
  importance: -5,
  idle_ttl_s: 0,
  min_residence_s: 7.5,
  serial_load: true,
  load_stall_s: 0.0001,
};

it("reads what only workers have, seconds as whole milliseconds and never a little as nothing", () => {
  expect(validateManifest(chat)).toMatchObject({
    ok: true,
    manifest: { pin: true, importance: -5, idleTtlMs: 0, minResidenceMs: 7_500, serialLoad: true, loadStallMs: 1 },
  });
  expect(validateManifest({ ...chat, idle_ttl_s: 366 * 86_400, min_residence_s: 0, load_stall_s: 86_400 })).toMatchObject({
    manifest: { idleTtlMs: 366 * 86_400_000, minResidenceMs: 0, loadStallMs: 86_400_000 },
  });
  expect(validateManifest({ ...chat, idle_ttl_s: 0.0004, load_stall_s: 1.001 })).toMatchObject({
    manifest: { idleTtlMs: 1, loadStallMs: 1_001 },
  });
});

it("leaves to the server what a worker does not say", () => {
  const result = validateManifest({ name: "a", command: ["true"], resources: {}, mode: "worker" });
  expect(result).toMatchObject({ ok: true, manifest: { pin: false, importance: 0, serialLoad: false } });
  for (const absent of ["idleTtlMs", "minResidenceMs", "loadStallMs"]) expect(result).not.toHaveProperty(`manifest.${absent}`);
});

it.each<[string, unknown, string]>([
  ["pin", "yes", "must be true or false"],
  ["importance", 1_001, "must be a whole number from -1000 to 1000"],
  ["importance", -1_001, "must be a whole number from -1000 to 1000"],
  ["importance", 0.5, "must be a whole number from -1000 to 1000"],
  ["idle_ttl_s", -1, "must be a number of seconds, from 0 to 31622400"],
  ["idle_ttl_s", 366 * 86_400 + 1, "must be a number of seconds, from 0 to 31622400"],
  ["idle_ttl_s", "300", "must be a number of seconds, from 0 to 31622400"],
  ["idle_ttl_s", null, "must be a number of seconds, from 0 to 31622400"],
  ["min_residence_s", -0.1, "must be a number of seconds, from 0 to 86400"],
  ["min_residence_s", 86_401, "must be a number of seconds, from 0 to 86400"],
  ["serial_load", 1, "must be true or false"],
  ["load_stall_s", 0, "must be a number of seconds, more than 0 and at most 86400"],
  ["load_stall_s", -1, "must be a number of seconds, more than 0 and at most 86400"],
  ["load_stall_s", 86_401, "must be a number of seconds, more than 0 and at most 86400"],
])("names %s of a worker when it is %j, and the limit", (field, value, message) => {
  expect(problems({ ...chat, [field]: value })).toEqual([`${field}: ${message}`]);
});

it("names each field that only a worker has when the plugin is none, also when the field says nothing", () => {
  const fields = ["pin", "importance", "idle_ttl_s", "min_residence_s", "serial_load", "load_stall_s"];
  for (const mode of [undefined, "command"]) {
    expect(problems({ ...chat, mode }).map((p) => p.split(":")[0])).toEqual(fields);
    expect(problems({ ...whisper, mode, pin: false })).toEqual([
      'pin: is for mode worker only: take it out, or set "mode": "worker"',
    ]);
  }
  // Of a mode that is misspelt nobody knows what it was to be.
  expect(problems({ ...chat, mode: "workr" })).toEqual(["mode: must be one of command, worker"]);
});

it("needs no more than a name, a command and what it needs", () => {
  expect(validateManifest({ name: "a", command: ["true"], resources: {} })).toMatchObject({
    ok: true,
    manifest: { mode: "command", maxConcurrency: 1, env: {}, requirements: { gpuCount: 0, vramMb: 0 } },
  });
});

it.each<[string, object, string]>([
  ["a name is missing", { name: undefined }, "name: is required"],
  ["a name is no name", { name: "../x" }, "name: must be 1 to 128 of"],
  ["a name ends in a line break", { name: "whisper\n" }, "name: must not contain control characters"],
  ["a name is no text", { name: 7 }, "name: must be a string of at most 128 bytes"],
  ["a version is too long", { version: "1".repeat(65) }, "version: must be a string of at most 64 bytes"],
  ["a description holds an escape", { description: "\u001b[2J" }, "description: must not contain control characters"],
  ["the resources are missing", { resources: undefined }, "resources: is required"],
  ["the resources are null", { resources: null }, "resources: must be an object"],
  [
    "a need is negative",
    { resources: { requires_gpu: true, min_gpu_vram_mb: -1 } },
    "resources.min_gpu_vram_mb: must be a whole number from 0 to 16777216",
  ],
  [
    "a need is a text",
    { resources: { requires_gpu: true, min_gpu_vram_mb: "4096" } },
    "resources.min_gpu_vram_mb: must be a whole number from 0 to 16777216",
  ],
  [
    "a need is null",
    { resources: { min_system_ram_mb: null } },
    "resources.min_system_ram_mb: must be a whole number from 0 to 16777216",
  ],
  [
    "a need is misspelt",
    { resources: { requires_gpu: true, min_gpu_vram: 4096 } },
    "resources.min_gpu_vram: is not a field of a manifest",
  ],
  ["a need stands in the wrong place", { min_gpu_vram_mb: 4096 }, "min_gpu_vram_mb: is not a field of a manifest"],
  [
    "memory is needed but no GPU",
    { resources: { requires_gpu: false, min_gpu_vram_mb: 4096 } },
    "resources.min_gpu_vram_mb: needs requires_gpu to be true",
  ],
  ["GPUs are counted but not needed", { resources: { gpu_count: 2 } }, "resources.gpu_count: needs requires_gpu"],
  ["there are too many GPUs", { resources: { requires_gpu: true, gpu_count: 65 } }, "resources.gpu_count: must be a whole"],
  [
    "a UUID would smuggle in a second GPU",
    { resources: { requires_gpu: true, gpu_uuids: ["GPU-1,GPU-2"] } },
    "resources.gpu_uuids[0]: must be a GPU UUID",
  ],
  [
    "fewer GPUs are allowed than needed",
    { resources: { requires_gpu: true, gpu_count: 2, gpu_uuids: ["GPU-1", "GPU-1"] } },
    "resources.gpu_uuids: must name at least gpu_count (2) different GPUs, got 1",
  ],
  ["requires_gpu is no flag", { resources: { requires_gpu: "yes" } }, "resources.requires_gpu: must be true or false"],
  ["the command is missing", { command: undefined }, "command: is required"],
  ["the command is one text", { command: "python3 worker.py" }, "command: must be a list of at most 1024 strings"],
  ["the command is empty", { command: [] }, "command: is required: a list of 1 to 1024 strings"],
  ["an argument is a number", { command: ["x", 5] }, "command[1]: must be a string"],
  ["an argument holds NUL", { command: ["x", "a\0b"] }, "command[1]: must not contain NUL"],
  ["the program is empty", { command: [" "] }, "command[0]: must name a program"],
  ["the caller would choose the program", { command: ["{program}"] }, "command[0]: must not hold a {placeholder}"],
  ["the mode is unknown", { mode: "daemon" }, "mode: must be one of command, worker"],
  ["the mode is null", { mode: null }, "mode: must be one of command, worker"],
  ["it may run 0 times", { max_concurrency: 0 }, "max_concurrency: must be a whole number from 1 to 1024"],
  ["the environment is a list", { env: [] }, "env: must be an object of strings"],
  ["a variable is a number", { env: { A: 1 } }, "env.A: must be a string of at most 32768 bytes without NUL"],
  ["a variable has no name", { env: { "A=B": "" } }, "env.A=B: must be named by letters"],
  ["it chooses its GPU itself", { env: { CUDA_VISIBLE_DEVICES: "0" } }, "env.CUDA_VISIBLE_DEVICES: must not be set here"],
  ["it orders GPUs itself", { env: { CUDA_DEVICE_ORDER: "X" } }, "env.CUDA_DEVICE_ORDER: must not be set here"],
  ["it poses as a lease", { env: { SLUICE_LEASE_ID: "x" } }, "env.SLUICE_LEASE_ID: must not be set here"],
  ["the schema is a text", { arguments_schema: "object" }, "arguments_schema: must be a JSON Schema object"],
  ["the schema is none", { arguments_schema: { type: "thing" } }, "arguments_schema: must be a JSON Schema (draft-07)"],
  [
    "the schema needs another document",
    { arguments_schema: { $ref: "https://example.org/x.json" } },
    "arguments_schema: must be a JSON Schema (draft-07) without references to other documents",
  ],
  // An asynchronous check answers a promise, and a promise is true whatever the arguments are.
  ["the schema would let everything through", { arguments_schema: { $async: true } }, "arguments_schema: must not be async"],
  [
    "the schema is huge",
    { arguments_schema: { description: "x".repeat(262_144) } },
    "arguments_schema: must be at most 262144 bytes",
  ],
])("names the field and the limit when %s", (_what, change, message) => {
  expect(problems({ ...whisper, ...change }).filter((p) => p.startsWith(message))).toHaveLength(1);
});

it("says everything that is wrong at once", () => {
  expect(problems({ name: "", command: [""], resources: { min_gpu_vram_mb: 1.5 }, colour: 1 })).toHaveLength(4);
});

it("names what is wrong with a file that is no manifest at all", () => {
  const of = (bytes: Uint8Array) => {
    const result = parseManifest(bytes);
    return result.ok ? "" : result.problems.map((p) => `${p.field}:${p.message}`).join();
  };
  expect(of(Buffer.from("{"))).toMatch(/^:is not JSON: /);
  expect(of(Buffer.from("[1]"))).toBe(":must be a JSON object");
  expect(of(Buffer.from([0x7b, 0xff, 0x7d]))).toBe(":must be UTF-8");
  expect(of(Buffer.alloc(1_048_577, " "))).toBe(":must be at most 1048576 bytes, got 1048577");
  expect(of(Buffer.from("[".repeat(500_000) + "]".repeat(500_000)))).toBe(":must be a JSON object");
  const deep = `{"name":"a","command":["x"],"resources":{},"arguments_schema":${'{"not":'.repeat(20_000)}{}${"}".repeat(20_000)}}`;
  expect(of(Buffer.from(deep))).toMatch(/^arguments_schema:/);
});

const keys = [...Object.keys({ ...whisper, ...chat }), "colour", "__proto__", "constructor"];
const needs = ["requires_gpu", "min_gpu_vram_mb", "min_system_ram_mb", "gpu_count", "gpu_uuids", "exclusive_gpu", "__proto__"];
const anything = fc.oneof(
  fc.jsonValue(),
  fc.record({ requires_gpu: fc.boolean(), min_gpu_vram_mb: fc.integer() }),
  fc.dictionary(fc.constantFrom(...needs), fc.oneof(fc.jsonValue(), fc.integer(), fc.boolean())),
  fc.record({ type: fc.constantFrom("object", "string", "thing"), $ref: fc.string() }, { requiredKeys: [] }),
);

it("never throws, and either loads or names a field, whatever the file holds", () => {
  const changes = fc.dictionary(fc.constantFrom(...keys), anything, { maxKeys: 3 });
  fc.assert(
    fc.property(
      fc.oneof(
        changes.map((c) => JSON.stringify({ ...whisper, ...c })),
        fc.json(),
        fc.string(),
      ),
      (text) => {
        const result = parseManifest(Buffer.from(text));
        if (result.ok) {
          expect(result.manifest.name).not.toBe("");
          // What a file says about memory is what is asked for: nothing is dropped on the way.
          const { resources } = JSON.parse(text);
          expect(result.manifest.requirements.vramMb).toBe(resources.min_gpu_vram_mb ?? 0);
          expect(result.manifest.requirements.ramMb).toBe(resources.min_system_ram_mb ?? 0);
        } else {
          expect(result.problems.length).toBeGreaterThan(0);
          for (const problem of result.problems) expect(problem.message).not.toBe("");
        }
      },
    ),
    { numRuns: 500 },
  );
});
