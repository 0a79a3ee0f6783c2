import { maxGpus, maxMib } from "../engine/request-limits.ts";
import type { Requirements } from "../engine/types.ts";
import { type ArgumentCheck, compileSchema, hasPlaceholder } from "./arguments.ts";
import { isJsonObject, type JsonObject } from "./json.ts";
import { type ManifestProblem, ManifestReader } from "./manifest-reader.ts";
import { type WorkerFields, workerFieldNames, workerFieldsOf } from "./worker-fields.ts";

/** `command`: one process for each execution. `worker`: one that stays. */
export type PluginMode = "command" | "worker";

/** A program that can be run. Validated: every limit of proto/sluice/v1/executor.proto holds. Sizes are MiB. */
export interface PluginManifest extends WorkerFields {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly requirements: Requirements;
  /** Program and arguments; the program itself holds no placeholder. */
  readonly command: readonly string[];
  readonly mode: PluginMode;
  readonly maxConcurrency: number;
  /** Absent: anything goes. */
  readonly argumentsSchema?: JsonObject;
  readonly env: Readonly<Record<string, string>>;
}

export type ManifestResult =
  | { readonly ok: true; readonly manifest: PluginManifest; readonly check: ArgumentCheck }
  | { readonly ok: false; readonly problems: readonly ManifestProblem[] };

/** Largest manifest, in bytes. */
export const maxManifestBytes = 1_048_576;
const maxSchemaBytes = 262_144;
const nameForm = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const uuidForm = /^[A-Za-z0-9][A-Za-z0-9/:._-]{0,127}$/;
const variableForm = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const modes = ["command", "worker"] as const;

/** Reads one manifest. Never throws; says every problem that it finds, by field. */
export function parseManifest(bytes: Uint8Array): ManifestResult {
  if (bytes.length > maxManifestBytes) return whole(`must be at most ${maxManifestBytes} bytes, got ${bytes.length}`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return whole("must be UTF-8");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return whole(`is not JSON: ${String(error instanceof Error ? error.message : error).slice(0, 200)}`);
  }
  return validateManifest(value);
}

/** Validates a manifest that has been parsed as JSON. Never throws. Unknown keys are problems: a typo must not drop a need. */
export function validateManifest(value: unknown): ManifestResult {
  if (!isJsonObject(value)) return whole("must be a JSON object");
  const root = new ManifestReader(value, "", [
    "name",
    "version",
    "description",
    "resources",
    "command",
    "mode",
    "max_concurrency",
    "arguments_schema",
    "env",
    ...workerFieldNames,
  ]);
  const name = root.text("name", 128, { required: true });
  if (name !== "" && !nameForm.test(name)) {
    root.problem("name", "must be 1 to 128 of a-z, A-Z, 0-9, '.', '_' and '-', beginning with a letter or digit");
  }
  const mode = root.optional("mode");
  if (mode !== undefined && !modes.some((m) => m === mode)) root.problem("mode", `must be one of ${modes.join(", ")}`);
  const compiled = schemaOf(root);
  const manifest: PluginManifest = {
    name,
    version: root.text("version", 64),
    description: root.text("description", 1024, { lines: true }),
    requirements: requirementsOf(root),
    command: commandOf(root),
    mode: mode === "worker" ? "worker" : "command",
    maxConcurrency: root.wholeNumber("max_concurrency", 1, 1024, 1),
    ...(compiled.schema === undefined ? {} : { argumentsSchema: compiled.schema }),
    env: environmentOf(root),
    ...workerFieldsOf(root, mode === "worker" ? "worker" : mode === undefined || mode === "command" ? "command" : "unclear"),
  };
  return root.problems.length === 0 && compiled.check !== undefined
    ? { ok: true, manifest, check: compiled.check }
    : { ok: false, problems: root.problems };
}

function whole(message: string): ManifestResult {
  return { ok: false, problems: [{ field: "", message }] };
}

/** Required, because a need that nobody stated would be admitted as none. */
function requirementsOf(root: ManifestReader): Requirements {
  const none: Requirements = { gpuCount: 0, vramMb: 0, ramMb: 0, gpuUuids: [], exclusive: false };
  const r = root.object("resources", [
    "requires_gpu",
    "min_gpu_vram_mb",
    "min_system_ram_mb",
    "gpu_count",
    "gpu_uuids",
    "exclusive_gpu",
  ]);
  if (r === undefined) {
    if (root.optional("resources") === undefined) {
      root.problem("resources", 'is required; {"requires_gpu": false} says that the plugin needs no GPU');
    }
    return none;
  }
  const requiresGpu = r.flag("requires_gpu");
  const vramMb = r.wholeNumber("min_gpu_vram_mb", 0, maxMib, 0);
  const ramMb = r.wholeNumber("min_system_ram_mb", 0, maxMib, 0);
  const count = r.wholeNumber("gpu_count", 0, maxGpus, 0);
  const uuids = r.texts("gpu_uuids", maxGpus) ?? [];
  const exclusive = r.flag("exclusive_gpu");
  for (const [i, uuid] of uuids.entries()) {
    if (!uuidForm.test(uuid)) {
      r.problem(`gpu_uuids[${i}]`, "must be a GPU UUID as nvidia-smi -L prints it (GPU-… or MIG-…), at most 128 characters");
    }
  }
  const distinct = [...new Set(uuids)];
  if (uuids.length > 0 && distinct.length < Math.max(1, count)) {
    r.problem("gpu_uuids", `must name at least gpu_count (${count}) different GPUs, got ${distinct.length}`);
  }
  if (!requiresGpu) {
    const needsGpu = (field: string) => r.problem(field, "needs requires_gpu to be true");
    if (vramMb > 0) needsGpu("min_gpu_vram_mb");
    if (count > 0) needsGpu("gpu_count");
    if (uuids.length > 0) needsGpu("gpu_uuids");
    if (exclusive) needsGpu("exclusive_gpu");
  }
  return { gpuCount: requiresGpu ? Math.max(1, count) : 0, vramMb, ramMb, gpuUuids: distinct, exclusive };
}

function commandOf(root: ManifestReader): readonly string[] {
  const command = root.texts("command", 1024);
  if (command === undefined && root.optional("command") !== undefined) return [];
  if (command === undefined || command.length === 0) {
    root.problem("command", 'is required: a list of 1 to 1024 strings, such as ["python3", "worker.py"]');
    return [];
  }
  for (const [i, part] of command.entries()) {
    if (part.includes("\0")) root.problem(`command[${i}]`, "must not contain NUL");
    if (Buffer.byteLength(part) > 32_768) root.problem(`command[${i}]`, "must be at most 32768 bytes");
  }
  const program = command[0] ?? "";
  if (program.trim() === "") root.problem("command[0]", "must name a program");
  // Whoever may call must not be able to choose what is run.
  if (hasPlaceholder(program)) root.problem("command[0]", "must not hold a {placeholder}: the program is fixed");
  return command;
}

function environmentOf(root: ManifestReader): Readonly<Record<string, string>> {
  const value = root.optional("env");
  if (value === undefined) return {};
  if (!isJsonObject(value)) {
    root.problem("env", "must be an object of strings");
    return {};
  }
  const entries = Object.entries(value);
  if (entries.length > 256) root.problem("env", `must have at most 256 entries, got ${entries.length}`);
  for (const [name, text] of entries.slice(0, 256)) {
    const field = `env.${name}`;
    if (!variableForm.test(name)) root.problem(field, "must be named by letters, digits and '_', at most 128, no digit first");
    if (name === "CUDA_VISIBLE_DEVICES" || name === "CUDA_DEVICE_ORDER" || name.startsWith("SLUICE_")) {
      root.problem(field, "must not be set here: the lease decides it");
    }
    if (typeof text !== "string" || text.includes("\0") || Buffer.byteLength(text) > 32_768) {
      root.problem(field, "must be a string of at most 32768 bytes without NUL");
    }
  }
  return Object.fromEntries(entries.map(([name, text]) => [name, String(text)]));
}

function schemaOf(root: ManifestReader): { schema?: JsonObject; check?: ArgumentCheck } {
  const schema = root.optional("arguments_schema");
  if (schema !== undefined && !isJsonObject(schema)) {
    root.problem("arguments_schema", "must be a JSON Schema object");
    return {};
  }
  let bytes: number;
  try {
    bytes = schema === undefined ? 0 : Buffer.byteLength(JSON.stringify(schema));
  } catch {
    root.problem("arguments_schema", "is nested too deeply");
    return {};
  }
  if (bytes > maxSchemaBytes) {
    root.problem("arguments_schema", `must be at most ${maxSchemaBytes} bytes, got ${bytes}`);
    return {};
  }
  const compiled = compileSchema(schema);
  if (!compiled.ok) {
    root.problem("arguments_schema", compiled.message);
    return {};
  }
  return schema === undefined ? { check: compiled.check } : { schema, check: compiled.check };
}
