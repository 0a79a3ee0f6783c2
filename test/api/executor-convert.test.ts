import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { BreakerState, ExecutionFailedSchema, ExecutionFailure, ResidentState } from "#gen/sluice/v1/executor_pb.js";
import { toConnectError } from "../../src/api/errors.ts";
import { executionError, pluginToProto } from "../../src/api/executor-convert.ts";
import { Failure, type FailureReason } from "../../src/engine/failure.ts";
import { Breaker } from "../../src/executor/breaker.ts";
import { MemoryProfiles } from "../../src/executor/memory-profile.ts";
import type { ExecutionFailureCode } from "../../src/executor/outcome.ts";
import { Registry } from "../../src/executor/registry.ts";
import type { WorkerState, WorkerView } from "../../src/executor/worker-view.ts";

const at = Date.parse("2026-03-01T12:00:00Z");
const seconds = (ms: number) => ({ seconds: BigInt(ms / 1000) });

const entry = new Registry([]).register(
  { name: "chat", command: ["x"], mode: "worker", resources: { requires_gpu: true, min_gpu_vram_mb: 4_000 } },
  "manifest",
);

describe("a plugin on the wire", () => {
  it("has no worker, breaker or memory where nothing is known of them", () => {
    const plugin = pluginToProto(entry, 0);
    expect(plugin.resident).toBe(ResidentState.UNSPECIFIED);
    expect([plugin.worker, plugin.breaker, plugin.memory]).toEqual([undefined, undefined, undefined]);
  });

  it("has everything that is known of its worker, and its state twice", () => {
    const worker: WorkerView = {
      state: "idle",
      pid: 77,
      leaseId: "lease-1",
      executions: 0,
      loadedAt: at,
      idleSince: at + 1_000,
      unloadAt: at + 301_000,
      loadTimeMs: 12_000,
      residentVramMb: 5_210,
      residentRamMb: 0,
    };
    const plugin = pluginToProto(entry, 0, { worker });
    expect(plugin.resident).toBe(ResidentState.IDLE);
    expect(plugin.worker).toMatchObject({
      state: ResidentState.IDLE,
      pid: 77,
      leaseId: "lease-1",
      loadedAt: seconds(at),
      idleSince: seconds(at + 1_000),
      unloadAt: seconds(at + 301_000),
      loadTime: seconds(12_000),
      residentVramMb: 5_210,
      residentRamMb: 0,
    });
  });

  it("says nothing of a worker's numbers and times that are not known, rather than 0", () => {
    const { worker } = pluginToProto(entry, 2, { worker: { state: "in-use", pid: 77, leaseId: "l", executions: 2 } });
    expect(worker).toMatchObject({ state: ResidentState.IN_USE, executions: 2 });
    const { loadedAt, idleSince, unloadAt, loadTime, residentVramMb, residentRamMb } = worker ?? {};
    expect([loadedAt, idleSince, unloadAt, loadTime, residentVramMb, residentRamMb]).toEqual(Array(6).fill(undefined));
  });

  it.each<[WorkerState, ResidentState]>([
    ["starting", ResidentState.STARTING],
    ["loading", ResidentState.LOADING],
    ["in-use", ResidentState.IN_USE],
    ["idle", ResidentState.IDLE],
    ["releasing", ResidentState.RELEASING],
    ["evicting", ResidentState.EVICTING],
    ["dead", ResidentState.DEAD],
  ])("calls a worker that is %s by that name", (state, resident) => {
    expect(pluginToProto(entry, 0, { worker: { state, pid: 0, leaseId: "", executions: 0 } })).toMatchObject({
      resident,
      worker: { state: resident },
    });
  });

  it("has its breaker as it stands", () => {
    const breaker = new Breaker();
    const shown = () => pluginToProto(entry, 0, { breaker: breaker.view(at) }).breaker;
    expect(shown()).toMatchObject({ state: BreakerState.CLOSED, failures: 0, lastError: "" });
    expect(shown()?.nextAttemptAt).toBeUndefined();
    breaker.failed(at, { kind: "EXIT", message: "no" });
    expect(shown()).toMatchObject({
      state: BreakerState.BACKING_OFF,
      failures: 1,
      lastError: "no",
      nextAttemptAt: seconds(at + 1_000),
    });
    for (let i = 0; i < 2; i += 1) breaker.failed(at, { kind: "EXIT", message: "no" });
    expect(shown()).toMatchObject({ state: BreakerState.OPEN, failures: 3, nextAttemptAt: seconds(at + 60_000) });
    breaker.started();
    expect(shown()).toMatchObject({ state: BreakerState.HALF_OPEN });
  });

  it("has what was learned of its memory, and what it asks for because of that", () => {
    const profiles = new MemoryProfiles();
    const shown = () => {
      const memory = profiles.viewOf("k", entry.manifest.requirements, "max");
      return pluginToProto(entry, 0, memory === undefined ? {} : { memory }).memory;
    };
    expect(shown()).toBeUndefined();
    profiles.observe("k", { vramMb: 6_000, failed: true });
    expect(shown()).toMatchObject({ runs: 0, atLeastVramMb: 6_000, asksFor: { minGpuVramMb: 6_000, gpuCount: 1 } });
    expect(shown()?.learnedVramMb).toBeUndefined();
    profiles.observe("k", { vramMb: 7_000, ramMb: 0, failed: false });
    profiles.observe("k", { ramMb: 900, failed: true });
    expect(shown()).toMatchObject({
      learnedVramMb: 7_000,
      learnedRamMb: 0,
      runs: 1,
      atLeastRamMb: 900,
      asksFor: { minGpuVramMb: 7_000, minSystemRamMb: 900 },
    });
    expect(shown()?.atLeastVramMb).toBeUndefined();
  });
});

describe("failures of workers", () => {
  it.each<[ExecutionFailureCode, ExecutionFailure]>([
    ["OUT_OF_MEMORY", ExecutionFailure.OUT_OF_MEMORY],
    ["PLUGIN_ERROR", ExecutionFailure.PLUGIN_ERROR],
    ["WORKER_LOST", ExecutionFailure.WORKER_LOST],
    ["LOAD_FAILED", ExecutionFailure.LOAD_FAILED],
    ["WORKER_BROKEN", ExecutionFailure.WORKER_BROKEN],
  ])("%s is told as such, with how often it was tried", (code, wire) => {
    const once = executionError("e", { code, message: "no" });
    expect(Code[once.code]).toBe("Aborted");
    expect(once.findDetails(ExecutionFailedSchema)[0]).toMatchObject({ code: wire, attempts: 0 });
    const twice = executionError("e", { code, message: "no", attempts: 2 });
    expect(twice.findDetails(ExecutionFailedSchema)[0]).toMatchObject({ code: wire, attempts: 2 });
  });

  const told = (reason: FailureReason, metadata: Record<string, string> = {}) => {
    const error = ConnectError.from(toConnectError(new Failure(reason, "no", metadata)));
    const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    return [Code[error.code], delay && Number(delay.seconds) * 1_000 + delay.nanos / 1_000_000];
  };

  it("say by their status whether trying again can help, and when", () => {
    expect(told("PLUGIN_BUSY")).toEqual(["FailedPrecondition", undefined]);
    expect(told("RELEASE_UNSUPPORTED")).toEqual(["FailedPrecondition", undefined]);
    expect(told("LEASE_EVICTING")).toEqual(["FailedPrecondition", undefined]);
    expect(told("WORKER_BROKEN")).toEqual(["Unavailable", 60_000]);
    expect(told("WORKER_BROKEN", { retry_after_ms: "240500" })).toEqual(["Unavailable", 240_500]);
    expect(told("WORKER_BROKEN", { retry_after_ms: "0" })).toEqual(["Unavailable", 0]);
  });

  it("keep the usual delay when what they say of it is no number of ms", () => {
    for (const wrong of ["", "soon", "-1", "1.5", "1e3", "9".repeat(30)]) {
      expect(told("WORKER_BROKEN", { retry_after_ms: wrong })).toEqual(["Unavailable", 60_000]);
    }
    // A failure that is final stays so.
    expect(told("PLUGIN_BUSY", { retry_after_ms: "5" })).toEqual(["FailedPrecondition", undefined]);
  });
});
