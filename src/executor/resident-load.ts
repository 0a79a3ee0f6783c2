import type { LeaseView } from "../engine/types.ts";
import type { Admission } from "./admission.ts";
import { exitMessage } from "./exit-message.ts";
import type { LoadTurns } from "./load-turns.ts";
import type { OutOfMemory } from "./memory-profile.ts";
import type { OomKills } from "./oom-kills.ts";
import { killedByKernel, killsNow } from "./oom-kills.ts";
import type { ExecutionFailure } from "./outcome.ts";
import type { ProcessRegister } from "./process-register.ts";
import type { LoadedPlugin } from "./registry.ts";
import { serverEnvOf } from "./server-env.ts";
import type { Tenancy } from "./tenancy.ts";
import type { InitEnd } from "./worker-call.ts";
import type { WorkerProcess } from "./worker-process.ts";

const leaseMarker = "SLUICE_LEASE_ID";

/** What loading a worker needs from around it. */
export interface LoadSite {
  readonly admission: Admission;
  readonly turns: LoadTurns;
  readonly register: ProcessRegister | undefined;
  /** Environment of the server; only PATH, HOME and LANG are taken out of it. */
  readonly serverEnv: Readonly<Record<string, string | undefined>>;
  readonly killGraceMs: number;
  /** For manifests that do not say. */
  readonly loadStallMs: number;
  /** Time that a worker gets to answer a call that was cancelled, in ms; undefined: 10 s. */
  readonly cancelGraceMs?: number;
  readonly oomKills: OomKills;
  readonly onError: (error: unknown) => void;
}

/** Those who wait for it. */
export interface LoadAudience {
  readonly signal: AbortSignal;
  /** Its process is there. */
  started(worker: WorkerProcess): void;
  /** It said how far it is, or wrote a line. */
  loading(message: string): void;
  log(line: string, stderr: boolean): void;
  ready(): Promise<void> | undefined;
  /** Later, while it serves: it did not answer to a cancellation, and must be given nothing more. */
  stuck(): void;
}

/** How loading ended. After anything but `ready` nothing of it is left. */
export type LoadEnd =
  | { readonly kind: "ready"; readonly worker: WorkerProcess; readonly canRelease: boolean; readonly tookMs: number }
  /** `code`: SPAWN or LOAD_FAILED. `message` follows the plugin's name. */
  | { readonly kind: "failed"; readonly code: "SPAWN" | "LOAD_FAILED"; readonly message: string; readonly stderrTail?: string }
  | { readonly kind: "out-of-memory"; readonly ran: OutOfMemory; readonly message: string }
  | { readonly kind: "cancelled" };

/** Starts a worker on its lease and lets it load, when it is its turn. Rejects with the signal's reason while it waits for that. */
export async function loadWorker(
  site: LoadSite,
  plugin: LoadedPlugin,
  lease: LeaseView,
  env: Readonly<Record<string, string>>,
  audience: LoadAudience,
): Promise<LoadEnd> {
  const { manifest } = plugin;
  const uuids = lease.gpus.map((g) => g.uuid);
  const leave = await site.turns.enter(uuids, manifest.serialLoad, audience.signal);
  try {
    const killsBefore = killsNow(site.oomKills);
    const { WorkerProcess: Worker } = await import("./worker-process.ts");
    const start = await Worker.start(
      {
        name: manifest.name,
        argv: manifest.command,
        cwd: plugin.cwd,
        env: { ...serverEnvOf(site.serverEnv), ...manifest.env, ...env },
        killGraceMs: site.killGraceMs,
        ...(env[leaseMarker] === undefined ? {} : { marker: `${leaseMarker}=${env[leaseMarker]}` }),
      },
      {
        onError: site.onError,
        onStuck: () => audience.stuck(),
        ...(site.cancelGraceMs === undefined ? {} : { cancelGraceMs: site.cancelGraceMs }),
        ...(site.register === undefined ? {} : { register: site.register }),
      },
    );
    if (!start.ok) return { kind: "failed", code: "SPAWN", message: `could not be started. ${start.message}` };
    const { worker } = start;
    audience.started(worker);
    const stallMs = manifest.loadStallMs ?? site.loadStallMs;
    const end = await worker.initialize(paramsOf(plugin, lease), {
      stallMs,
      signal: audience.signal,
      onProgress: (message, fraction) => audience.loading(progressText(message, fraction)),
      onLog: (line, stderr) => audience.log(line, stderr),
      ready: () => audience.ready(),
    });
    if (end.kind === "ready") return { kind: "ready", worker, canRelease: end.canRelease, tookMs: end.tookMs };
    await worker.ended;
    return await failureOf(site, plugin, end, stallMs, killsBefore);
  } finally {
    leave();
  }
}

function paramsOf({ manifest }: LoadedPlugin, lease: LeaseView) {
  return {
    protocol: 1,
    plugin: { name: manifest.name, version: manifest.version },
    lease: {
      id: lease.id,
      token: lease.token,
      gpus: lease.gpus.map((g) => ({ uuid: g.uuid, index: g.index, vram_mb: g.vramMb })),
      system_ram_mb: lease.ramMb,
    },
    max_concurrency: manifest.maxConcurrency,
  };
}

function progressText(message: string, fraction: number | undefined): string {
  if (fraction === undefined) return message;
  const percent = `${Math.round(fraction * 100)} %`;
  return message === "" ? percent : `${percent}: ${message}`;
}

async function failureOf(
  site: LoadSite,
  plugin: LoadedPlugin,
  end: Exclude<InitEnd, { kind: "ready" }>,
  stallMs: number,
  killsBefore: Promise<number | undefined>,
): Promise<LoadEnd> {
  switch (end.kind) {
    case "cancelled":
      return { kind: "cancelled" };
    case "error":
      return { kind: "failed", code: "LOAD_FAILED", message: `could not load: ${end.message}` };
    case "out-of-memory":
      return { kind: "out-of-memory", ran: ranOut(end), message: `ran out of memory while it loaded: ${end.message}` };
    case "stalled": {
      const heard =
        end.lastHeard === undefined ? "nothing was ever heard of it" : `the last thing heard of it was ${end.lastHeard}`;
      const message = `showed no progress for ${Math.round(stallMs / 1000)} s while it loaded; ${heard}. Let it report progress, or raise load_stall_s in its manifest.`;
      return { kind: "failed", code: "LOAD_FAILED", message, stderrTail: end.stderrTail };
    }
    case "lost": {
      if (await killedByKernel(end.report, site.oomKills, killsBefore)) {
        return {
          kind: "out-of-memory",
          ran: { resource: "ram" },
          message: "was ended by the kernel for lack of host memory while it loaded",
        };
      }
      const message = end.problem ?? `${exitMessage(plugin, end.report, end.stderrTail)} It had not finished loading.`;
      return { kind: "failed", code: "LOAD_FAILED", message, stderrTail: end.stderrTail };
    }
  }
}

/** What ran out, as the worker said. */
export function ranOut(end: { readonly resource: "gpu" | "ram"; readonly neededMb: number | undefined }): OutOfMemory {
  return { resource: end.resource, ...(end.neededMb === undefined ? {} : { neededMb: end.neededMb }) };
}

/** What is told to whoever waited for a worker that could not be loaded. */
export function loadFailure(
  name: string,
  end: Extract<LoadEnd, { kind: "failed" | "out-of-memory" }>,
  attempts: number,
): ExecutionFailure {
  const message = `Plugin "${name}" ${end.message}`;
  const told = { message, ...(attempts > 1 ? { attempts } : {}) };
  if (end.kind === "out-of-memory") return { code: "OUT_OF_MEMORY", ...told };
  return { code: end.code, ...told, ...(end.stderrTail === undefined ? {} : { stderrTail: end.stderrTail }) };
}

/**
 * Ends a worker: it is asked, then SIGTERM to its process group, the grace, SIGKILL. Resolves when nothing of it is left. Waits for a
 * load on its GPUs that must not see memory change.
 */
export async function endWorker(site: LoadSite, { worker, lease, plugin }: Tenancy): Promise<void> {
  const uuids = lease.gpus.map((g) => g.uuid);
  const leave = await site.turns.enter(uuids, false);
  const report = await worker?.shutdown();
  leave();
  if (report === undefined || report.left === 0) return;
  site.onError(new Error(`${report.left} processes of the worker of plugin "${plugin.manifest.name}" could not be ended`));
}
