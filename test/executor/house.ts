import { existsSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { CommandRunner } from "../../src/executor/command-runner.ts";
import type { ExecutionEvent } from "../../src/executor/event-feed.ts";
import { type ExecutionRequest, Executor, type ExecutorOptions } from "../../src/executor/executor.ts";
import { Registry } from "../../src/executor/registry.ts";
import { FakeAdmission } from "./fake-admission.ts";

export const node = process.execPath;

/** An executor with a fake gate and real processes. */
export function house(options: Partial<ExecutorOptions> & { killGraceMs?: number } = {}) {
  const admission = new FakeAdmission();
  const registry = new Registry([], tmpdir());
  const errors: unknown[] = [];
  const runner = new CommandRunner({ serverEnv: process.env, killGraceMs: options.killGraceMs ?? 2_000 });
  const executor = new Executor({
    registry,
    admission,
    runners: { command: runner },
    onError: (error) => errors.push(error),
    ...options,
  });
  /** Registers a plugin; fields that are not given are the simplest that are valid. */
  const plugin = (name: string, command: string[], more: object = {}) =>
    registry.register({ name, command, resources: {}, ...more }, "manifest");
  /** A plugin that is a piece of JavaScript. */
  const script = (name: string, code: string, more: object = {}) => plugin(name, [node, "-e", code], more);
  return { admission, registry, executor, errors, plugin, script };
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
