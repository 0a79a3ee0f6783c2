import { afterEach, describe, expect, it } from "vitest";
import { program } from "../fakes/worker/rig.ts";
import { waitFor } from "../wait-for.ts";
import { type HouseOptions, house, never, node, request, running } from "./house.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
});

/** A house with the fake worker as plugin "w". */
function workers(options: HouseOptions = {}, manifest: object = {}, fake: object = {}) {
  const made = house({ killGraceMs: 500, ...options });
  const { executor, admission } = made;
  const register = (more: object = manifest, how: object = fake) =>
    made.plugin("w", [node, program, JSON.stringify(how)], { mode: "worker", ...more });
  register();
  ends.push(() => executor.shutdown(0));
  const start = (args: object, more: object = {}) => executor.start(request("w", { arguments: { ...args }, ...more }));
  const ask = (args: object) => executor.outcome(start(args), never);
  const pid = async () => {
    const outcome = await ask({ do: "pid" });
    if (!outcome.ok) throw new Error(JSON.stringify(outcome));
    return Number(outcome.result);
  };
  const view = () => made.residents.view("w");
  const lease = () => view()?.leaseId ?? "";
  return { ...made, admission, register, start, ask, pid, view, lease };
}

describe("the worker of a plugin", () => {
  it("is started by the first execution and used by the second, on one lease, which unload gives back", async () => {
    const w = workers();
    const pid = await w.pid();
    const lease = w.lease();
    expect(await w.pid()).toBe(pid);
    expect(w.admission.requests).toHaveLength(1);
    await w.executor.unload("w");
    expect([running(pid), w.admission.released.get(lease), w.view()]).toEqual([false, 1, undefined]);
    expect([...w.admission.executions.values()]).toEqual([true, true, true]);
    expect(w.errors).toEqual([]);
  });

  it("counts as at work from its grant until the first execution is over, without a gap", async () => {
    const w = workers();
    const counts: number[] = [];
    let now = 0;
    const push = w.admission.log.push.bind(w.admission.log);
    w.admission.log.push = (line) => {
      if (line.startsWith("start")) now += 1;
      if (line.startsWith("finish")) now -= 1;
      counts.push(now);
      return push(line);
    };
    await w.pid();
    await waitFor(() => now === 0, "nothing runs");
    expect(w.admission.log.map((line) => line.split(" ")[0])).toEqual([
      "grant",
      "start",
      "attach",
      "start",
      "finish",
      "finish",
    ]);
    expect(counts).toEqual([0, 1, 1, 2, 1, 0]);
  });

  it("works on as many executions as its manifest allows, and the rest wait for their turn", async () => {
    const w = workers({}, { max_concurrency: 2 });
    await w.pid();
    const all = [1, 2, 3].map(() => w.start({ do: "wait", late: true }));
    await waitFor(() => w.view()?.executions === 2, "two at the same time");
    expect(all.map((e) => e.state)).toEqual(["running", "running", "queued"]);
    expect(() => w.admission.evict(w.lease())).toThrow("unfinished");
    for (const execution of all) await w.executor.cancel(execution.identity.id);
    expect(w.view()).toMatchObject({ state: "idle", executions: 0 });
    expect(w.admission.requests).toHaveLength(1);
  });

  it("that is evicted cannot be given to an execution that comes in the same moment, which gets the next one", async () => {
    const w = workers();
    const pid = await w.pid();
    const lease = w.lease();
    w.admission.evict(lease);
    const next = await w.pid();
    expect(next).not.toBe(pid);
    expect([running(pid), w.admission.released.get(lease), w.admission.held]).toEqual([false, 1, 1]);
    const log = w.admission.log.filter((line) => /^(grant|release)/.test(line)).map((line) => line.split(" ")[0]);
    expect(log).toEqual(["grant", "release", "grant"]);
    expect(w.errors).toEqual([]);
  });

  it("ends when it has been idle for its time, and one that is pinned does not", async () => {
    const w = workers({ residentSite: { idleTtlMs: 100 } });
    const pid = await w.pid();
    expect(w.view()?.unloadAt).toBe((w.view()?.idleSince ?? 0) + 100);
    await waitFor(() => w.admission.held === 0, "it was unloaded");
    expect(running(pid)).toBe(false);
    const pinned = workers({ residentSite: { idleTtlMs: 100 } }, { pin: true });
    await pinned.pid();
    expect(pinned.view()).toMatchObject({ state: "idle", executions: 0, loadTimeMs: expect.any(Number) });
    expect(pinned.view()).not.toHaveProperty("unloadAt");
  });

  it("is replaced when it is idle and its manifest has changed", async () => {
    const w = workers();
    const pid = await w.pid();
    w.register({ version: "2" });
    const next = await w.pid();
    expect([next === pid, running(pid), w.admission.held]).toEqual([false, false, 1]);
  });

  it("that says it is no good any more is replaced", async () => {
    const w = workers();
    const pid = await w.pid();
    expect(await w.ask({ do: "error", code: 5, message: "broken", data: { fatal: true } })).toMatchObject({
      failure: { code: "PLUGIN_ERROR", attempts: 1 },
    });
    await w.executor.load("w", never);
    expect([(await w.pid()) === pid, running(pid), w.admission.held]).toEqual([false, false, 1]);
  });

  it("that dies while it works loses the execution, with its last words, and is started again after a back-off", async () => {
    let now = 1_000_000;
    const w = workers({ residentSite: { now: () => now } });
    await w.pid();
    const lost = await w.ask({ do: "die", code: 3, say: "Traceback\n" });
    expect(lost).toMatchObject({ failure: { code: "WORKER_LOST", exitCode: 3, stderrTail: "Traceback\n", attempts: 1 } });
    await waitFor(() => w.admission.held === 0, "its lease was given back");
    expect(w.residents.breaker("w")).toMatchObject({ state: "backing-off", nextAttemptAt: now + 1_000 });
    now += 1_000;
    await w.pid();
    expect(w.residents.breaker("w")).toMatchObject({ state: "closed", failures: 0 });
  });

  it("whose lease somebody else ended is ended, and so is what runs on it", async () => {
    const w = workers();
    const pid = await w.pid();
    const execution = w.start({ do: "hang" });
    await waitFor(() => w.view()?.state === "in-use", "it runs");
    w.admission.release(w.lease());
    expect((await execution.done).outcome).toMatchObject({ failure: { code: "WORKER_LOST" } });
    await waitFor(() => w.view() === undefined, "nothing is left");
    expect(running(pid)).toBe(false);
    expect(await w.pid()).not.toBe(pid);
  });

  it("that does not answer to a cancellation is given nothing more, and ends after the others on it", async () => {
    const w = workers({ residentSite: { cancelGraceMs: 50 } }, { max_concurrency: 3 });
    const pid = await w.pid();
    const [stuck, other] = [w.start({ do: "hang" }), w.start({ do: "wait", late: true })];
    await waitFor(() => w.view()?.executions === 2, "both run");
    expect(await w.executor.cancel(stuck.identity.id)).toMatchObject({ state: "cancelled" });
    const next = w.pid();
    expect([running(pid), other.state, w.view()?.executions]).toEqual([true, "running", 1]);
    await w.executor.cancel(other.identity.id);
    expect((await other.done).outcome).toEqual({ ok: true, result: "late" });
    expect([(await next) === pid, running(pid)]).toEqual([false, false]);
    expect(w.residents.breaker("w")?.lastError).toBe("");
  });
});

describe("a start that fails", () => {
  it.each([
    ["says no", { load: "error" }, "LOAD_FAILED", "could not load: no such model"],
    ["exits", { load: "die" }, "LOAD_FAILED", "It had not finished loading."],
    ["says nothing", { load: "slow" }, "LOAD_FAILED", "showed no progress"],
  ])("because the worker %s is told, backs off, and after three alike is not tried until it is loaded", async (...row) => {
    const [, fake, code, words] = row;
    let now = 1_000_000;
    const w = workers({ residentSite: { now: () => now, loadStallMs: 300 } }, {}, fake);
    for (const waitMs of [1_000, 2_000, 60_000]) {
      const outcome = await w.ask({ do: "pid" });
      expect(outcome).toMatchObject({ failure: { code, message: expect.stringContaining(words) } });
      expect(w.residents.breaker("w")?.nextAttemptAt).toBe(now + waitMs);
      expect(w.admission.held).toBe(0);
      if (waitMs < 60_000) now += waitMs;
    }
    expect(w.view()).toMatchObject({ state: "dead", pid: 0, leaseId: "" });
    await expect(w.ask({ do: "pid" })).rejects.toMatchObject({
      reason: "WORKER_BROKEN",
      metadata: { retry_after_ms: "60000" },
    });
    expect(w.admission.requests).toHaveLength(3);
    expect(await w.executor.load("w", never)).toMatchObject({ ok: false, failure: { code } });
    expect(w.admission.requests).toHaveLength(4);
  });

  it("does not count once the manifest is another one: the next execution starts it at once", async () => {
    const w = workers({ residentSite: { now: () => 1_000_000 } }, {}, { load: "die" });
    const broken = await w.ask({ do: "pid" });
    expect(broken).toMatchObject({ ok: false });
    expect(w.residents.breaker("w")?.state).toBe("backing-off");
    w.register({ version: "2" }, {});
    expect(running(await w.pid())).toBe(true);
  });

  it("because its program is not there says SPAWN", async () => {
    const w = house();
    ends.push(() => w.executor.shutdown(0));
    w.plugin("none", ["no-such-program-here"], { mode: "worker" });
    const outcome = await w.executor.outcome(w.executor.start(request("none")), never);
    expect(outcome).toMatchObject({ failure: { code: "SPAWN", message: expect.stringContaining("was not found") } });
    expect(w.admission.held).toBe(0);
  });
});

describe("somebody who waits", () => {
  it("for room and is cancelled leaves nothing", async () => {
    const w = workers();
    w.admission.mode = "wait";
    const execution = w.start({ do: "pid" });
    await waitFor(() => w.admission.waiting.length === 1, "it waits");
    expect(await w.executor.cancel(execution.identity.id)).toMatchObject({ state: "cancelled" });
    expect([w.admission.waiting.length, w.admission.held, w.errors]).toEqual([0, 0, []]);
  });

  it("for room longer than it may is told what it waited for", async () => {
    const w = workers();
    w.admission.mode = "wait";
    const { outcome } = await w.start({ do: "pid" }, { timeoutMs: 50 }).done;
    expect(outcome).toMatchObject({
      failure: { code: "TIMED_OUT", refusal: { reasons: [{ code: "INSUFFICIENT_GPU_MEMORY" }] } },
    });
    await waitFor(() => w.admission.waiting.length === 0, "the start was given up");
  });

  it("for a load takes it away when it was the only one, and leaves it to another", async () => {
    const w = workers({}, { max_concurrency: 2 }, { load: "slow" });
    const [a, b] = [w.start({ do: "pid" }, { timeoutMs: 200 }), w.start({ do: "pid" })];
    await waitFor(() => w.view()?.state === "loading", "it loads");
    const pid = w.view()?.pid ?? 0;
    await w.executor.cancel(b.identity.id);
    expect([running(pid), w.view()?.state]).toEqual([true, "loading"]);
    await w.executor.cancel(a.identity.id);
    await waitFor(() => w.admission.held === 0, "the lease was given back");
    expect([running(pid), w.view(), w.errors]).toEqual([false, undefined, []]);
  });

  it("for a load may do so beyond its time", async () => {
    const said: string[] = [];
    const w = workers({}, {}, { load: "slow" });
    const execution = w.start({ do: "pid" }, { timeoutMs: 400 });
    void (async () => {
      for await (const event of w.executor.watch(execution, never)) if (event.kind === "log") said.push(event.line);
    })();
    await waitFor(() => said.includes("begins"), "it loads");
    const from = performance.now();
    await waitFor(() => performance.now() - from > 500, "its time is over");
    process.kill(w.admission.attached[0] as number, "SIGHUP");
    expect((await execution.done).outcome).toMatchObject({ ok: true });
  });
});

describe("release", () => {
  it("gives memory back, and the next execution gets it again in the same process", async () => {
    const w = workers({}, {}, { canRelease: true });
    const pid = await w.pid();
    const lease = w.lease();
    await w.executor.release("w");
    expect(w.admission.log.at(-1)).toBe(`give back ${lease}`);
    expect(w.admission.kept.get(lease)?.map((k) => k.ready)).toEqual([true, false, true]);
    expect(await w.pid()).toBe(pid);
    expect(w.admission.log).toContain(`refill ${lease}`);
  });

  it("that cannot be taken back in place costs a new worker", async () => {
    const w = workers({}, {}, { canRelease: true });
    const pid = await w.pid();
    await w.executor.release("w");
    w.admission.refillRefusal = { reasons: [{ code: "INSUFFICIENT_GPU_MEMORY", message: "no" }] };
    expect([(await w.pid()) === pid, running(pid), w.admission.held]).toEqual([false, false, 1]);
  });

  it("is refused to a worker that cannot, and, as is unload, while it works", async () => {
    const w = workers();
    await w.pid();
    await expect(w.executor.release("w")).rejects.toMatchObject({ reason: "RELEASE_UNSUPPORTED" });
    w.start({ do: "wait" });
    await waitFor(() => w.view()?.state === "in-use", "it works");
    await expect(w.executor.release("w")).rejects.toMatchObject({ reason: "PLUGIN_BUSY" });
    await expect(w.executor.unload("w")).rejects.toMatchObject({ reason: "PLUGIN_BUSY" });
  });
});

it("shutting down ends what is idle and what loads, and leaves nothing", async () => {
  const w = workers();
  w.plugin("slow", [node, program, JSON.stringify({ load: "slow" })], { mode: "worker" });
  const pid = await w.pid();
  const waits = w.executor.start(request("slow"));
  await waitFor(() => w.residents.view("slow")?.state === "loading", "it loads");
  const loading = w.residents.view("slow")?.pid ?? 0;
  expect([pid, loading].map(running)).toEqual([true, true]);
  await w.executor.shutdown(0);
  expect((await waits.done).outcome).toMatchObject({ ok: false, failure: { code: "CANCELLED" } });
  expect([...[pid, loading].map(running), w.admission.held]).toEqual([false, false, 0]);
  expect(() => w.start({ do: "pid" })).toThrow("shutting down");
});

describe("a worker", () => {
  const onGpu = { mode: "worker", resources: { requires_gpu: true, min_gpu_vram_mb: 10 } };
  const says = (execute: string) => `require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
    const { id, method } = JSON.parse(line);
    const answer = () => console.log(JSON.stringify({ jsonrpc: "2.0", id, result: method === "execute" ? ${execute} : {} }));
    if (method === "initialize" && process.env.SLOW) setTimeout(answer, 300); else answer();
    if (method === "shutdown") process.exit(0);
  }).on("close", () => process.exit(0));`;

  it("has what its lease and its manifest give it, and nothing else of the server's environment", async () => {
    const w = house();
    ends.push(() => w.executor.shutdown(0));
    w.plugin("env", [node, "-e", says("process.env")], { ...onGpu, env: { HF_HOME: "/models" } });
    const outcome = await w.executor.outcome(w.executor.start(request("env")), never);
    const env = (outcome as { result: Record<string, string> }).result;
    const lease = [...w.admission.released.keys()][0];
    expect(env).toMatchObject({ CUDA_VISIBLE_DEVICES: "GPU-0", SLUICE_LEASE_ID: lease, HF_HOME: "/models" });
    expect(Object.keys(env).filter((name) => name.startsWith("npm_") || name.startsWith("VITEST"))).toEqual([]);
  });

  it("that loads alone has its GPU to itself: the next one starts when it is ready, an idle one goes only then (X1)", async () => {
    const w = house({ killGraceMs: 500 });
    ends.push(() => w.executor.shutdown(0));
    w.plugin("idle", [node, "-e", says("1")], onGpu);
    await w.executor.outcome(w.executor.start(request("idle")), never);
    const idle = w.residents.view("idle");
    w.plugin("alone", [node, "-e", says("2")], { ...onGpu, serial_load: true, env: { SLOW: "1" } });
    w.plugin("next", [node, "-e", says("3")], onGpu);
    const alone = w.executor.start(request("alone"));
    await waitFor(() => w.residents.view("alone")?.state === "loading", "it loads");
    const next = w.executor.start(request("next"));
    w.admission.evict(idle?.leaseId ?? "");
    const isLoading = () => w.residents.view("alone")?.state === "loading";
    await waitFor(() => (w.residents.view("next")?.pid ?? 0) !== 0 || !running(idle?.pid ?? 0), "one of them moves");
    expect(isLoading()).toBe(false);
    expect(await Promise.all([alone.done, next.done])).toMatchObject([
      { outcome: { ok: true, result: 2 } },
      { outcome: { ok: true, result: 3 } },
    ]);
    await waitFor(() => !running(idle?.pid ?? 0), "the idle one has gone");
  });
});
