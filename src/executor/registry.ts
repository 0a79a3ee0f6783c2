import { open, readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { Failure, invalidArgument } from "../engine/failure.ts";
import type { ArgumentCheck } from "./arguments.ts";
import { maxManifestBytes, type PluginManifest, parseManifest, validateManifest } from "./manifest.ts";
import type { ManifestProblem } from "./manifest-reader.ts";

/** A plugin as it was loaded. Immutable: what runs keeps the one that it was started with, whatever is loaded meanwhile. */
export interface LoadedPlugin {
  readonly manifest: PluginManifest;
  readonly check: ArgumentCheck;
  /** Path of its manifest, or `registered`. */
  readonly source: string;
  /** Folder that its command runs in: the one of its manifest. */
  readonly cwd: string;
}

export interface PluginEntry extends LoadedPlugin {
  readonly enabled: boolean;
}

/** What is wrong with one file, or with one folder. */
export interface LoadProblem extends ManifestProblem {
  readonly file: string;
}

export interface LoadReport {
  readonly plugins: readonly PluginEntry[];
  readonly errors: readonly LoadProblem[];
}

const maxRegistered = 1_000;
const registeredSource = "registered";

/** The plugins that can be run: those of the operator's folders, and those that were registered. */
export class Registry {
  readonly #folders: readonly string[];
  readonly #registeredCwd: string;
  readonly #disabled = new Set<string>();
  #plugins = new Map<string, LoadedPlugin>();
  #loading: Promise<unknown> = Promise.resolve();

  /**
   * @param folders where manifests (`*.json`) lie; folders inside them are not looked at.
   * @param registeredCwd folder that registered plugins run in.
   */
  constructor(folders: readonly string[], registeredCwd: string = process.cwd()) {
    this.#folders = [...new Set(folders.map((f) => resolve(f)))];
    this.#registeredCwd = registeredCwd;
  }

  /**
   * Reads every folder again. What loads replaces what was there under its name, also when that was registered; what has no
   * valid manifest any more is gone. Never rejects: what did not load is answered by file and field.
   */
  loadAll(): Promise<LoadReport> {
    // One after the other, so that an older reading never replaces a newer one.
    const report = this.#loading.then(() => this.#loadAll());
    this.#loading = report;
    return report;
  }

  async #loadAll(): Promise<LoadReport> {
    const loaded = new Map<string, LoadedPlugin>();
    const errors: LoadProblem[] = [];
    for (const folder of this.#folders) {
      for (const file of await manifestFiles(folder, errors)) {
        const plugin = await readPlugin(file, errors);
        if (plugin === undefined) continue;
        const first = loaded.get(plugin.manifest.name);
        if (first === undefined) loaded.set(plugin.manifest.name, plugin);
        else errors.push({ file, field: "name", message: `"${plugin.manifest.name}" is already the name in ${first.source}` });
      }
    }
    for (const [name, plugin] of this.#plugins) {
      if (plugin.source === registeredSource && !loaded.has(name)) loaded.set(name, plugin);
    }
    this.#plugins = loaded;
    for (const name of this.#disabled) if (!loaded.has(name)) this.#disabled.delete(name);
    return { plugins: this.list(), errors };
  }

  /** Throws PLUGIN_NOT_FOUND. */
  get(name: string): PluginEntry {
    const plugin = this.#plugins.get(name);
    if (plugin === undefined) {
      const known = [...this.#plugins.keys()].sort().slice(0, 20).join(", ");
      const hint =
        known === "" ? "No plugin is loaded: put a manifest into a plugin folder and load again." : `Known: ${known}.`;
      throw new Failure("PLUGIN_NOT_FOUND", `There is no plugin "${name.slice(0, 128)}". ${hint}`, {
        plugin: name.slice(0, 128),
      });
    }
    return { ...plugin, enabled: !this.#disabled.has(name) };
  }

  /** The manifest that a plugin has now; undefined when it is gone. */
  find(name: string): PluginManifest | undefined {
    return this.#plugins.get(name)?.manifest;
  }

  /** By name. */
  list(): PluginEntry[] {
    return [...this.#plugins.keys()].sort().map((name) => this.get(name));
  }

  /** A plugin that is not enabled refuses new executions. Stays so over loadAll. Throws PLUGIN_NOT_FOUND. */
  setEnabled(name: string, enabled: boolean): PluginEntry {
    this.get(name);
    if (enabled) this.#disabled.delete(name);
    else this.#disabled.add(name);
    return this.get(name);
  }

  /**
   * Adds or replaces one plugin. Throws INVALID_ARGUMENT for every problem of the manifest.
   * @param manifest as a manifest file would hold it.
   * @param path where the manifest stands in the request, put before every field.
   */
  register(manifest: unknown, path: string): PluginEntry {
    const result = validateManifest(manifest);
    if (!result.ok) {
      throw invalidArgument(
        ...result.problems.map((p) => ({ field: p.field === "" ? path : `${path}.${p.field}`, description: p.message })),
      );
    }
    const bytes = Buffer.byteLength(JSON.stringify(manifest));
    if (bytes > maxManifestBytes) {
      throw invalidArgument({ field: path, description: `must be at most ${maxManifestBytes} bytes as JSON, got ${bytes}` });
    }
    const { name } = result.manifest;
    const registered = [...this.#plugins].filter(([n, p]) => p.source === registeredSource && n !== name).length;
    if (registered >= maxRegistered) {
      throw invalidArgument({ field: `${path}.name`, description: `at most ${maxRegistered} plugins can be registered` });
    }
    this.#plugins.set(name, {
      manifest: result.manifest,
      check: result.check,
      source: registeredSource,
      cwd: this.#registeredCwd,
    });
    return this.get(name);
  }
}

async function manifestFiles(folder: string, errors: LoadProblem[]): Promise<string[]> {
  try {
    const names = await readdir(folder);
    return names
      .filter((n) => n.endsWith(".json"))
      .sort()
      .map((n) => join(folder, n));
  } catch (error) {
    const message =
      codeOf(error) === "ENOENT"
        ? "the folder does not exist: create it, or take it out of the plugin folders"
        : `the folder cannot be read (${codeOf(error)})`;
    errors.push({ file: folder, field: "", message });
    return [];
  }
}

async function readPlugin(file: string, errors: LoadProblem[]): Promise<LoadedPlugin | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readBounded(file);
  } catch (error) {
    errors.push({
      file,
      field: "",
      message: error instanceof NotAFile ? "is not a file" : `cannot be read (${codeOf(error)})`,
    });
    return undefined;
  }
  const result = parseManifest(bytes);
  if (!result.ok) {
    errors.push(...result.problems.map((p) => ({ file, ...p })));
    return undefined;
  }
  return { manifest: result.manifest, check: result.check, source: file, cwd: dirname(file) };
}

class NotAFile extends Error {}

/** At most one byte more than a manifest may have. Looks first, because opening a named pipe waits for its writer. */
async function readBounded(file: string): Promise<Uint8Array> {
  if (!(await stat(file)).isFile()) throw new NotAFile();
  const handle = await open(file, "r");
  try {
    const buffer = Buffer.alloc(maxManifestBytes + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
    }
  } finally {
    await handle.close();
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "unknown error";
}
