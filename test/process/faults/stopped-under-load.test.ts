import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { Hold, LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { FakeNvidiaSmi, gpuUuid } from "../../fakes/nvidia-smi/fake.ts";
import { waitFor } from "../../wait-for.ts";
import { detailsOf, gpuWork, Waiter } from "../support/scheduler.ts";
import { type Server, startServer } from "../support/server.ts";

const waiting = 60;
const graceMs = 8_000;

it("SIGTERM under load: everybody is told, work is finished, and the next server has the leases and the line as they were", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-load-"));
  const fake = new FakeNvidiaSmi({ gpus: [{ uuid: gpuUuid(0), totalMb: 24_576, usedMb: 0 }] });
  const plugins = join(folder, "plugins");
  mkdirSync(plugins);
  const sleep = {
    name: "sleep",
    version: "1",
    command: ["sh", "-c", "sleep {seconds}; echo done"],
    mode: "command",
    max_concurrency: 8,
    resources: {},
  };
  writeFileSync(join(plugins, "sleep.json"), JSON.stringify(sleep));
  const serve = () =>
    startServer([
      ...["--nvidia-smi", fake.path, "--sample-period", "200", "--plugins", plugins],
      ...["--state", join(folder, "state"), "--drain-grace", `${graceMs / 1_000}`, "--grace-time", "20"],
    ]);
  const servers: Server[] = [];
  try {
    const before = await serve();
    servers.push(before);
    const scheduler = before.client(SchedulerService);
    // Held for longer than all of this takes: one that only holds, one at work, and one on a stream.
    const ttl = { leaseTtl: durationFromMs(60_000), policy: "safety" };
    const held = [];
    for (const vram of [8_000, 8_000]) {
      const { outcome } = await scheduler.allocate({ workload: gpuWork(vram), requestId: `held-${held.length}`, ...ttl });
      if (outcome.case !== "lease") throw new Error("it was refused");
      held.push(outcome.value);
    }
    const [idle, busy] = held;
    if (idle === undefined || busy === undefined) throw new Error("two were granted");
    await scheduler.startExecution({ leaseId: busy.id, token: busy.token });
    const stream = new Waiter(scheduler, 1_000, { hold: Hold.STREAM });
    await waitFor(() => stream.lease, "the lease on a stream");
    const waiters: Waiter[] = [];
    for (let i = 0; i < waiting; i++) {
      const workload = gpuWork(20_000, { priority: i % 3, tenant: `t${i % 4}` });
      waiters.push(new Waiter(before.connect().client(SchedulerService), 20_000, { workload, requestId: `w${i}` }));
    }
    await waitFor(() => waiters.every((w) => w.last === "queued"), "all to wait", 20_000);
    const ends = Array.from({ length: 10 }, async () => {
      for await (const _ of scheduler.watchQueue({}));
    }).map((end) => end.catch((error: unknown) => ConnectError.from(error)));
    // Some are done within the grace time, one is not.
    const executor = before.client(ExecutorService);
    const works = [1, 1, 1, 60].map((seconds) =>
      executor.executePlugin({ plugin: "sleep", arguments: { seconds } }).then(
        () => "done",
        (error: unknown) => Code[ConnectError.from(error).code],
      ),
    );
    await waitFor(
      async () => (await scheduler.listActivePlugins({})).plugins.some((p) => p.name === "sleep" && p.executions === 4),
      "the work to run",
    );
    const line = (await scheduler.listQueue({})).tickets.map((t) => [t.requestId, t.id]);

    const told = performance.now();
    before.kill("SIGTERM");
    await Promise.all([...waiters, stream].map((w) => w.over));
    const toldAll = performance.now() - told;
    for (const { error } of [...waiters, stream]) {
      expect(error?.code).toBe(Code.Unavailable);
      expect(error && detailsOf(error)).toMatchObject({ reason: "DRAINING", retry: true });
    }
    for (const end of await Promise.all(ends)) expect(end).toMatchObject({ code: Code.Unavailable });
    const code = await before.process.end;
    const ended = performance.now() - told;
    const outcomes = await Promise.all(works);
    expect(code).toBe(0);
    expect(toldAll).toBeLessThan(3_000);
    expect(ended).toBeLessThan(graceMs + 4_000);
    expect(outcomes.slice(0, 3)).toEqual(["done", "done", "done"]);
    expect(outcomes[3]).not.toBe("done");

    const after = await serve();
    servers.push(after);
    const next = after.client(SchedulerService);
    // Before anybody is back.
    const kept = (await next.listQueue({})).tickets;
    expect(kept.map((t) => [t.requestId, t.id])).toEqual(line);
    expect(kept.every((t) => !t.connected)).toBe(true);
    expect((await next.listLeases({})).leases.map((l) => [l.id, l.token, l.end])).toEqual(
      held.map((l) => [l.id, l.token, LeaseEnd.UNSPECIFIED]),
    );
    expect((await next.listActivePlugins({})).plugins).toMatchObject([{ executions: 1 }]);
    await next.renewLease({ leaseId: idle.id, token: idle.token });
    // They come back in the opposite order.
    const back = waiters.map((_, i) => i).reverse();
    const again: Waiter[] = [];
    for (const i of back) {
      const workload = gpuWork(20_000, { priority: i % 3, tenant: `t${i % 4}` });
      again.push(new Waiter(after.connect().client(SchedulerService), 20_000, { workload, requestId: `w${i}` }));
    }
    await waitFor(() => again.every((w) => w.last === "queued"), "all to be back", 20_000);
    const now = (await next.listQueue({})).tickets;
    expect(now.map((t) => [t.requestId, t.id])).toEqual(line);
    expect(now.every((t) => t.connected)).toBe(true);
    for (const l of held) await next.releaseLease({ leaseId: l.id, token: l.token });
    const first = again[back.findIndex((i) => `w${i}` === line[0]?.[0])];
    await waitFor(() => first?.lease, "the first of the line to be served first");
    expect(first?.lease?.token).toBeGreaterThan(busy.token);
    process.stderr.write(
      `SIGTERM under load: ${waiting} waiters told after ${toldAll.toFixed(0)} ms, ended after ${ended.toFixed(0)} ms (grace ${graceMs} ms)\n`,
    );
  } finally {
    for (const server of servers) await server.stop();
    fake.dispose();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});
