import { maxText } from "./errors.ts";

/** The plugin that runs. */
export interface PluginName {
  readonly name: string;
  readonly version: string;
}

/** What the worker may use. */
export interface WorkerLease {
  readonly id: string;
  readonly token: string;
  /** `index` counts as nvidia-smi does; the program itself sees its GPUs from 0 on. */
  readonly gpus: readonly { readonly uuid: string; readonly index: number; readonly vramMb: number }[];
  /** MiB. */
  readonly systemRamMb: number;
}

/** What is known once `initialize` was asked for. */
export interface WorkerSetup {
  readonly plugin: PluginName;
  readonly lease: WorkerLease;
  readonly maxConcurrency: number;
}

/** What a worker can say and ask while it works. Belongs to one call, and says nothing more once that is over. */
export interface WorkerContext extends WorkerSetup {
  /** Absent in `initialize`. */
  readonly executionId?: string;
  /** Aborted, with a `Cancelled` as reason, when sluice asks to give this call up. A worker that has not answered 10 s later is ended. */
  readonly signal: AbortSignal;
  /** Tells how far it is. @param fraction from 0 to 1, when that is known. */
  progress(fraction?: number, message?: string): void;
  /** Tells a line for the log. */
  log(message: string): void;
}

/** A context, and what ends it. */
export interface OpenContext {
  readonly ctx: WorkerContext;
  end(): void;
}

/** @param notify sends a notification. */
export function openContext(
  setup: WorkerSetup,
  executionId: string | undefined,
  signal: AbortSignal,
  notify: (method: string, params: object) => void,
): OpenContext {
  let over = false;
  const of = executionId === undefined ? {} : { execution_id: executionId };
  const say = (method: string, params: object) => {
    if (!over) notify(method, { ...of, ...params });
  };
  const ctx: WorkerContext = {
    ...setup,
    ...(executionId === undefined ? {} : { executionId }),
    signal,
    progress: (fraction, message = "") =>
      say("progress", {
        ...(fraction === undefined || Number.isNaN(fraction) ? {} : { fraction: Math.min(1, Math.max(0, fraction)) }),
        ...(message === "" ? {} : { message: String(message).slice(0, maxText) }),
      }),
    log: (message) => say("log", { message: String(message).slice(0, maxText) }),
  };
  return {
    ctx,
    end: () => {
      over = true;
    },
  };
}
