import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { ExecutorService, ResidentState } from "#gen/sluice/v1/executor_pb.js";
import { waitFor } from "../wait-for.ts";
import { childrenOf, commandLineOf } from "./support/machine.ts";
import { type Server, startSluice } from "./support/server.ts";
import { runs, WorkerSite, workerPid } from "./support/worker-site.ts";

const card = { uuid: "GPU-00000000-0000-4000-8000-000000000000", totalMb: 24_576 };

/** Pid of the process that looks after the workers of a server. */
async function guardianOf(server: Server): Promise<number> {
  const isGuardian = (pid: number) => commandLineOf(pid).some((word) => word.includes("guardian"));
  return waitFor(() => childrenOf(server.process.pid).find(isGuardian), "the guardian to be there");
}

async function loaded(server: Server, name: string): Promise<number> {
  await server.client(ExecutorService).loadPlugin({ name });
  return workerPid(server, name);
}

describe("a server that is killed", () => {
  it("leaves no worker: neither one that is loaded, nor one that loads, nor one that does not listen", async () => {
    await using site = new WorkerSite([card]);
    site.worker("loaded");
    site.worker("loading", { load: "slow" });
    site.worker("deaf", { ignoreTerm: true, ignoreEof: true });
    const server = await site.serve();
    const pids = [await loaded(server, "loaded"), await loaded(server, "deaf")];
    // It never loads; the server dies under the call.
    server
      .client(ExecutorService)
      .loadPlugin({ name: "loading" }, { timeoutMs: 60_000 })
      .catch(() => {});
    pids.push(await waitFor(() => workerPid(server, "loading"), "the third one to be started"));
    for (const pid of pids) site.mustEnd(pid);
    const guardian = await guardianOf(server);
    expect(pids.map((pid) => runs(pid))).toEqual([true, true, true]);

    server.kill("SIGKILL");
    expect(await server.process.end).toBe("SIGKILL");
    await waitFor(() => !pids.some((pid) => runs(pid)), "every worker to be gone", 8_000);
    await waitFor(() => !runs(guardian), "the guardian to be gone");
  });

  it("leaves nothing of a command that it had started either", async () => {
    await using site = new WorkerSite([card]);
    site.command("stubborn", "trap '' TERM; sleep 600 & echo $$ $!; wait");
    const server = await site.serve();
    const logged: string[] = [];
    void (async () => {
      for await (const { event } of server.client(ExecutorService).streamExecution({ plugin: "stubborn" })) {
        if (event.case === "log") logged.push(event.value.line);
      }
    })().catch(() => {});
    const pids = (await waitFor(() => logged[0], "the command to say who it is")).split(" ").map(Number);
    for (const pid of pids) site.mustEnd(pid);
    expect(pids.map((pid) => runs(pid))).toEqual([true, true]);
    server.kill("SIGKILL");
    await waitFor(() => !pids.some((pid) => runs(pid)), "the command and its child to be gone", 8_000);
  });

  it("together with its guardian leaves what does not listen, and the next server with the same --state ends it", async () => {
    await using site = new WorkerSite([card]);
    site.worker("deaf", { ignoreTerm: true, ignoreEof: true });
    const state = ["--state", site.stateDir];
    const first = await site.serve(state);
    const pid = await loaded(first, "deaf");
    site.mustEnd(pid);
    const guardian = await guardianOf(first);
    // Held first, so that it does nothing between the two.
    process.kill(guardian, "SIGSTOP");
    first.kill("SIGKILL");
    process.kill(guardian, "SIGKILL");
    await first.process.end;
    await waitFor(() => !runs(guardian), "the guardian to be gone");
    expect(runs(pid)).toBe(true);

    const second = await site.serve(state);
    expect(runs(pid)).toBe(false);
    const told = second.log().filter((line) => line.msg === "workers of a server that was killed were still there");
    expect(told).toMatchObject([{ ended: 1, left: 0 }]);
    // Nothing is known any more to the one after that.
    expect(await second.stop()).toBe(0);
    const third = await site.serve(state);
    expect(third.log().map((line) => line.msg)).not.toContain("workers of a server that was killed were still there");
  });
});

it("an eviction is one line of the log: for whom, which worker, what was expected and what was measured", async () => {
  await using site = new WorkerSite([card]);
  site.gpuWorker("first", 16_000);
  site.gpuWorker("second", 12_000);
  const server = await site.serve();
  const executor = server.client(ExecutorService);
  await executor.executePlugin({ plugin: "first" });
  await waitFor(
    async () => (await executor.getPlugin({ name: "first" })).plugin?.worker?.residentVramMb === 16_000,
    "the memory of the first to be measured",
  );
  await executor.executePlugin({ plugin: "second" });
  const line = await waitFor(() => server.log().find(({ decision }) => decision === "evict"), "the line of the log");
  const queued = server.log().find(({ decision, name }) => decision === "queue" && name === "second");
  expect(queued?.ticket).toMatch(/./);
  expect(line).toMatchObject({
    ticket: queued?.ticket,
    why: expect.stringContaining("second"),
    victims: [{ name: "first", end: "evicted", memory: expect.any(Array) }],
  });
  const [victim] = line.victims as readonly { memory: readonly object[] }[];
  expect(victim?.memory).toContainEqual({ on: card.uuid, expectedMb: 16_000, measuredMb: 16_000 });
  expect(server.log().filter(({ decision }) => decision === "evict")).toHaveLength(1);
});

describe("a hundred thousand lines of one execution", () => {
  const count = 100_000;
  const limitMb = 64;

  function residentMb(server: Server): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.process.pid}/status`, "utf8"))?.[1]) / 1024;
  }

  /** Reads them all; stops for as long (ms) in the middle. */
  async function read(
    server: Server,
    lines: number,
    pauseMs: number,
  ): Promise<{ firstWrong?: string; seen: number; peakMb: number }> {
    const args = { do: "say", count: lines, by: "log" };
    let seen = 0;
    let peakMb = 0;
    let firstWrong: string | undefined;
    let last: string | undefined;
    for await (const { event } of server.client(ExecutorService).streamExecution({ plugin: "talker", arguments: args })) {
      last = event.case;
      if (event.case !== "log") continue;
      if (event.value.line !== `${seen}`) firstWrong ??= `${event.value.line} instead of ${seen}`;
      seen += 1;
      if (seen === lines / 2 && pauseMs > 0) await delay(pauseMs);
      if (seen % 5_000 === 0) peakMb = Math.max(peakMb, residentMb(server));
    }
    expect(last).toBe("result");
    return { seen, peakMb, ...(firstWrong === undefined ? {} : { firstWrong }) };
  }

  it.each([
    ["are all told, in order, and take no memory", 0],
    ["are all told to a reader that stops for a second too", 1_000],
  ])("%s", async (_, pauseMs) => {
    await using site = new WorkerSite([card]);
    site.worker("talker");
    const server = await site.serve();
    await read(server, 5_000, 0);
    const before = residentMb(server);
    const { peakMb, ...told } = await read(server, count, pauseMs);
    expect(told).toEqual({ seen: count });
    expect(Math.max(peakMb, residentMb(server)) - before).toBeLessThan(limitMb);
  });
});

const noPython = spawnSync("python3", ["--version"]).status !== 0;
if (noPython)
  process.stderr.write("skipped: the command line with examples/plugins/echo-worker.json, because there is no python3\n");

it.skipIf(noPython)("the command line loads, shows and evicts the worker of the examples", async () => {
  await using site = new WorkerSite([card]);
  const examples = fileURLToPath(new URL("../../examples/plugins", import.meta.url));
  const server = await site.serve(["--plugins", examples]);
  const sluice = async (...args: string[]) => {
    const cli = startSluice([...args, "--address", server.grpc]);
    const code = await cli.end;
    return `${code}: ${cli.out()}${cli.err()}`;
  };
  expect(await sluice("load", "echo-worker")).toMatch(/^0: The worker of echo-worker: idle.*loaded in /);
  const pid = await workerPid(server, "echo-worker");
  expect(runs(pid)).toBe(true);
  expect(await sluice("plugins")).toMatch(/^echo-worker +.*worker.*idle/m);
  expect(await sluice("status")).toContain("echo-worker");
  expect(await sluice("evict", "--soft", "echo-worker")).toMatch(
    /^0: The worker of echo-worker: it says that it gave its memory back/,
  );
  expect(await workerPid(server, "echo-worker")).toBe(pid);
  expect(await sluice("exec", "echo-worker", "--arg", "text=hi")).toContain("hi");
  expect(await workerPid(server, "echo-worker")).toBe(pid);
  expect(await sluice("evict", "echo-worker")).toBe("0: The worker of echo-worker: stopped.\n");
  expect(runs(pid)).toBe(false);
  const { plugin } = await server.client(ExecutorService).getPlugin({ name: "echo-worker" });
  expect([ResidentState.UNSPECIFIED, ResidentState.DEAD]).toContain(plugin?.resident);
  expect(await sluice("evict", "--soft", "echo-worker")).toBe("0: The worker of echo-worker: there is none.\n");
});
