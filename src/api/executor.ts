import type { ServiceImpl } from "@connectrpc/connect";
import type { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { Failure, invalidArgument } from "../engine/failure.ts";
import type { Executor } from "../executor/executor.ts";
import type { Outcome } from "../executor/outcome.ts";
import type { PluginEntry, Registry } from "../executor/registry.ts";
import {
  eventToProto,
  executionError,
  executionRequestFromProto,
  executionToProto,
  listedExecutionToProto,
  manifestFromProto,
  pluginToProto,
  valueToProto,
} from "./executor-convert.ts";

export interface ExecutorServiceOptions {
  readonly registry: Registry;
  readonly executor: Executor;
  /** RegisterPlugin amounts to running code, so it has to be allowed (--allow-register). */
  readonly allowRegister: boolean;
  /**
   * Names of the policies that a request may give, so that a wrong one is refused before an execution is made of it. Left out: the
   * gate alone says, and the execution fails.
   */
  readonly policies?: () => readonly string[];
}

/**
 * ExecutorService: proto ⇄ domain, nothing else. Throws ConnectError where an error carries details of its own, and Failure
 * otherwise.
 */
export function executorService({
  registry,
  executor,
  allowRegister,
  policies,
}: ExecutorServiceOptions): ServiceImpl<typeof ExecutorService> {
  const plugin = (entry: PluginEntry) =>
    pluginToProto(entry, executor.unfinishedOf(entry.manifest.name), executor.detailsOf(entry));
  return {
    async loadAllPlugins() {
      const report = await registry.loadAll();
      executor.pluginsChanged();
      return { plugins: report.plugins.map(plugin), errors: report.errors.map((e) => ({ ...e })) };
    },
    registerPlugin({ manifest }) {
      if (!allowRegister) {
        const message =
          "RegisterPlugin amounts to running code and is off: start the server with --allow-register, or put the manifest into a plugin folder.";
        throw new Failure("REGISTER_NOT_ALLOWED", message, { flag: "--allow-register" });
      }
      if (manifest === undefined) throw invalidArgument({ field: "manifest", description: "is required" });
      const entry = registry.register(manifestFromProto(manifest), "manifest");
      executor.pluginsChanged();
      return { plugin: plugin(entry) };
    },
    listPlugins: () => ({ plugins: registry.list().map(plugin) }),
    getPlugin: ({ name }) => ({ plugin: plugin(registry.get(name)) }),
    enablePlugin: ({ name }) => ({ plugin: plugin(registry.setEnabled(name, true)) }),
    disablePlugin: ({ name }) => ({ plugin: plugin(registry.setEnabled(name, false)) }),
    async loadPlugin({ name }, { signal }) {
      const loaded = await executor.load(name, signal);
      if ("ok" in loaded) throw executionError("", (loaded as Extract<Outcome, { ok: false }>).failure);
      return { plugin: plugin(loaded) };
    },
    unloadPlugin: async ({ name }) => ({ plugin: plugin(await executor.unload(name)) }),
    releasePlugin: async ({ name }) => ({ plugin: plugin(await executor.release(name)) }),
    async executePlugin(request, { signal }) {
      const execution = executor.start(executionRequestFromProto(request, policies?.()));
      const executionId = execution.identity.id;
      const outcome = await executor.outcome(execution, signal);
      if (!outcome.ok) throw executionError(executionId, outcome.failure);
      return { executionId, result: valueToProto(outcome.result) };
    },
    async *streamExecution(request, { signal }) {
      const execution = executor.start(executionRequestFromProto(request, policies?.()));
      for await (const event of executor.watch(execution, signal)) yield eventToProto(execution.identity.id, event);
    },
    getExecution: ({ executionId }) => ({ execution: executionToProto(executor.get(executionId)) }),
    listExecutions: ({ plugin: name }) => ({ executions: executor.list(name).map(listedExecutionToProto) }),
    async cancelExecution({ executionId }) {
      return { execution: executionToProto(await executor.cancel(executionId)) };
    },
  };
}
