import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { ExecutorService, type StreamExecutionResponse } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { RefusalSchema } from "#gen/sluice/v1/types_pb.js";
import { waitFor } from "../wait-for.ts";
import { codesOf } from "./support/scheduler.ts";
import { onEachMachine, openSite } from "./support/site.ts";

/** The four ways of use that the README shows, with a plugin that answers which GPU it was given. */

const card = { totalMb: 24_576 };
/** Nothing of 8000 MiB fits. */
const full = { totalMb: 24_576, foreignMb: 20_000 };
let plugins: string;

beforeAll(() => {
  plugins = mkdtempSync(join(tmpdir(), "sluice-plugins-"));
  const answer =
    "const { text } = JSON.parse(require('fs').readFileSync(0)); console.log(JSON.stringify({ text, gpu: process.env.CUDA_VISIBLE_DEVICES ?? '' }))";
  const manifest = (name: string, vram: number, code = answer) =>
    writeFileSync(
      join(plugins, `${name}.json`),
      JSON.stringify({
        name,
        version: "1.0.0",
        resources: vram > 0 ? { requires_gpu: true, min_gpu_vram_mb: vram } : {},
        command: [process.execPath, "-e", code],
        mode: "command",
        max_concurrency: 8,
      }),
    );
  manifest("echo", 8_000);
  manifest("slow-echo", 16_000, `setTimeout(() => { ${answer} }, 300)`);
  manifest("no-gpu", 0);
});

afterAll(() => rmSync(plugins, { recursive: true, force: true }));

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("the call did not fail");
}

onEachMachine((backend) => {
  it("development: with no policy set an execution runs at once, whether it fits or not", async () => {
    await using site = await openSite(backend, [full], ["--plugins", plugins]);
    const executor = site.server.client(ExecutorService);
    expect((await executor.loadAllPlugins({})).plugins.map((p) => p.manifest?.name)).toEqual(["echo", "no-gpu", "slow-echo"]);
    const { result } = await executor.executePlugin({ plugin: "echo", arguments: { text: "hello" } });
    expect(result?.kind).toMatchObject({
      value: { fields: { text: { kind: { value: "hello" } }, gpu: { kind: { value: site.machine.uuid(0) } } } },
    });
    // It is booked all the same, so that those who queue would see it, and given back.
    expect(site.server.log().filter((l) => l.decision === "grant")).toMatchObject([
      { policy: "permissive", overcommitted: true },
    ]);
    await waitFor(async () => (await site.scheduler.listLeases({})).leases.length === 0, "the lease to be given back");
  });

  it("production: safety with sys-mon-nvidia blocks an execution that does not fit and says why", async () => {
    const flags = ["--plugins", plugins, "--policy", "safety", "--monitor", "sys-mon-host"];
    await using site = await openSite(backend, [full], flags);
    const { scheduler, machine, server } = site;
    const executor = server.client(ExecutorService);
    // A monitor that measures no GPU admits nothing to one.
    expect((await failureOf(executor.executePlugin({ plugin: "echo", arguments: { text: "x" } }))).code).toBe(
      Code.FailedPrecondition,
    );
    const { monitor } = await scheduler.registerSystemMonitor({ name: "sys-mon-nvidia" });
    expect(monitor).toMatchObject({ name: "sys-mon-nvidia", active: true, healthy: true });
    const { stats } = await server.client(MonitorService).getSystemStats({});
    expect(stats).toMatchObject({ source: "sys-mon-nvidia", gpuUsedMemoryMb: 20_000, gpuTotalMemoryMb: 24_576 });

    const error = await failureOf(executor.executePlugin({ plugin: "echo", arguments: { text: "x" } }));
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("NOT_ADMITTED");
    const refusal = error.findDetails(RefusalSchema)[0];
    expect(codesOf(refusal?.reasons ?? [])).toEqual(["INSUFFICIENT_GPU_MEMORY"]);
    expect(refusal?.reasons[0]).toMatchObject({ neededMb: 8_000, availableMb: 3_738, foreignMb: 20_000 });
    expect(error.rawMessage).toContain("8,000 MiB");

    machine.foreign(0, 0);
    await waitFor(async () => (await scheduler.listQueue({})).gpus[0]?.foreignMb === 0, "the memory to be free");
    const { result } = await executor.executePlugin({ plugin: "echo", arguments: { text: "now" } });
    expect(result?.kind.case).toBe("structValue");
  });

  it("batch with queue: more executions than fit are all done one after the other, within timeout and poll interval", async () => {
    const flags = ["--plugins", plugins, "--policy", "queue", "--timeout", "30", "--poll-interval", "1"];
    await using site = await openSite(backend, [card], flags);
    const executor = site.server.client(ExecutorService);
    // 16000 each: never two at the same time.
    const batch = await Promise.all(
      Array.from({ length: 4 }, (_, i) => executor.executePlugin({ plugin: "slow-echo", arguments: { text: `${i}` } })),
    );
    expect(batch).toHaveLength(4);
    const log = site.server.log();
    expect(log.filter((l) => l.decision === "queue").length).toBeGreaterThan(0);
    const atWork = log
      .filter((l) => l.decision === "grant" || l.decision === "end")
      .map((l) => (l.decision === "grant" ? 1 : -1));
    let now = 0;
    for (const change of atWork) {
      now += change;
      expect(now).toBeLessThanOrEqual(1);
    }

    // One that waits longer than it wants to is told so, with the reason.
    site.machine.foreign(0, 20_000);
    await waitFor(async () => (await site.scheduler.listQueue({})).gpus[0]?.foreignMb === 20_000, "the card to be full");
    const error = await failureOf(
      executor.executePlugin({ plugin: "echo", arguments: { text: "x" }, timeout: durationFromMs(700) }),
    );
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.findDetails(ErrorInfoSchema)[0]?.metadata).toMatchObject({ failure: "TIMED_OUT" });
    expect(codesOf(error.findDetails(RefusalSchema)[0]?.reasons ?? [])).toEqual(["INSUFFICIENT_GPU_MEMORY"]);
  });

  it("async with queue: a stream that waits blocks no other call", async () => {
    await using site = await openSite(backend, [full], ["--plugins", plugins, "--policy", "queue"]);
    const executor = site.server.client(ExecutorService);
    const events: StreamExecutionResponse[] = [];
    const stream = (async () => {
      for await (const event of executor.streamExecution({ plugin: "echo", arguments: { text: "late" } })) events.push(event);
    })();
    await waitFor(() => events.at(-1)?.event.case === "queued", "the execution to wait");
    const queued = events[0]?.event;
    expect(queued?.case === "queued" && codesOf(queued.value.reasons)).toEqual(["INSUFFICIENT_GPU_MEMORY"]);

    // Meanwhile, over the same connection: looking, and running what fits.
    expect((await site.server.client(MonitorService).listGpus({})).gpus).toHaveLength(1);
    const { result } = await executor.executePlugin({ plugin: "no-gpu", arguments: { text: "first" } });
    expect(result?.kind).toMatchObject({ value: { fields: { text: { kind: { value: "first" } } } } });
    expect((await executor.listExecutions({ plugin: "echo" })).executions).toMatchObject([{ plugin: "echo" }]);
    expect(events.at(-1)?.event.case).toBe("queued");

    site.machine.foreign(0, 0);
    await stream;
    const told = events.map((e) => e.event.case).filter((c) => c !== "queued");
    expect(told.slice(0, 2)).toEqual(["admitted", "started"]);
    expect(told.at(-1)).toBe("result");
    expect(new Set(events.map((e) => e.executionId)).size).toBe(1);
  });
});
