import { existsSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { CommandRunner } from "../../src/executor/command-runner.ts";
import type { ExecutionEvent } from "../../src/executor/event-feed.ts";
import { type ExecutionRequest, Executor, type ExecutorOptions } from "../../src/executor/executor.ts";
import { LoadTurns } from "../../src/executor/load-turns.ts";
import { MemoryProfiles } from "../../src/executor/memory-profile.ts";
import { Registry } from "../../src/executor/registry.ts";
import type { ResidentSite } from "../../src/executor/resident.ts";
import { Residents } from "../../src/executor/residents.ts";
import { FakeAdmission } from "./fake-admission.ts";

export const node = process.execPath;

export type HouseOptions = Partial<ExecutorOptions> & {
  readonly killGraceMs?: number;
  readonly residentSite?: Partial<ResidentSite>;
};

/** An executor with a fake gate and real processes. */
export function house(options: HouseOptions = {}) {
  const admission = new FakeAdmission();
  const registry = new Registry([], tmpdir());
  const errors: unknown[] = [];
  const killGraceMs = options.killGraceMs ?? 2_000;
  const onError = (error: unknown) => void errors.push(error);
  const profiles = new MemoryProfiles();
  const residents = new Residents({
    admission,
    profiles,
    learnedMemory: "max",
    turns: new LoadTurns(),
    register: undefined,
    serverEnv: process.env,
    killGraceMs,
    loadStallMs: 10_000,
    idleTtlMs: 0,
    oomKills: async () => undefined,
    now: Date.now,
    onError,
    ...options.residentSite,
  });
  const executor = new Executor({
    registry,
    admission,
    commands: new CommandRunner({ serverEnv: process.env, killGraceMs }),
    residents,
    profiles,
    onError,
    ...options,
  });
  /** Registers a plugin; fields that are not given are the simplest that are valid. */
  const plugin = (name: string, command: string[], more: object = {}) =>
    registry.register({ name, command, resources: {}, ...more }, "manifest");
  /** A plugin that is a piece of JavaScript. */
  const script = (name: string, code: string, more: object = {}) => plugin(name, [node, "-e", code], more);
  return { admission, registry, executor, residents, profiles, errors, plugin, script };
}

export function request(plugin: string, more: Partial<ExecutionRequest> = {}): ExecutionRequest {
  return { plugin, arguments: {}, policy: "", timeoutMs: undefined, tenant: "default", priority: 0, requestId: "", ...more };
}

export const never = new AbortController().signal;

/** Reads a stream of events to its end. */
export async function all(events: AsyncIterable<ExecutionEvent>): Promise<ExecutionEvent[]> {
  const list: ExecutionEvent[] = [];
  for await (const event of events) list.push(event);
  return list;
}

/** True while the process runs; a zombie does not. */
export function running(pid: number): boolean {
  if (!existsSync("/proc/self/stat")) {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}
