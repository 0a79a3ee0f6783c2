import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { Failure } from "../../src/engine/failure.ts";
import type { Refusal } from "../../src/engine/types.ts";
import type { ExecutionEvent } from "../../src/executor/event-feed.ts";
import { waitFor } from "../wait-for.ts";
import { all, house, never, node, request, running } from "./house.ts";

const full: Refusal = { reasons: [{ code: "INSUFFICIENT_GPU_MEMORY", message: "GPU 0 has 100 MiB, 4096 MiB are needed" }] };
const echo =
  'let s = ""; process.stdin.on("data", (d) => (s += d)).on("end", () => console.log(JSON.stringify({ got: JSON.parse(s), argv: process.argv.slice(1) })))';
/** Runs until it is ended; says so first. */
const waits = 'console.log("up"); setInterval(() => {}, 1000)';

function reasonOf(step: () => unknown): string {
  try {
    step();
  } catch (error) {
    if (error instanceof Failure) return error.violations[0] ? `${error.reason} ${error.violations[0].field}` : error.reason;
    throw error;
  }
  return "";
}

it("runs a plugin on a lease, tells it as it goes, and gives everything back before the end is told", async () => {
  const { admission, executor, plugin } = house();
  plugin("echo", [node, "-e", `console.log("working"); console.error("warming up"); ${echo}`, "--", "--text={text}", "{n}"]);
  const execution = executor.start(
    request("echo", { arguments: { text: "a b", n: 5 }, policy: "safety", priority: 7, tenant: "t" }),
  );
  const events: ExecutionEvent[] = [];
  for await (const event of executor.watch(execution, never)) {
    events.push(event);
    if (event.kind === "result")
      expect(admission.log.slice(-2)).toEqual([expect.stringMatching(/^finish/), expect.stringMatching(/^release/)]);
  }
  const logs = events.filter((e) => e.kind === "log");
  expect(events.filter((e) => e.kind !== "log").map((e) => e.kind)).toEqual(["admitted", "started", "result"]);
  expect(logs).toContainEqual({ kind: "log", line: "working", stderr: false });
  expect(logs).toContainEqual({ kind: "log", line: "warming up", stderr: true });
  expect(logs).toHaveLength(2);
  expect(events.at(-1)).toEqual({ kind: "result", result: { got: { text: "a b", n: 5 }, argv: ["--text=a b", "5"] } });
  expect(admission.requests).toMatchObject([{ name: "echo", policy: "safety", priority: 7, tenant: "t" }]);
  expect(admission.log.map((l) => l.split(" ")[0])).toEqual(["grant", "start", "attach", "finish", "release"]);
  expect(executor.get(execution.identity.id)).toMatchObject({ state: "succeeded", pid: 0, tenant: "t" });
});

it("gives a plugin PATH, HOME, LANG, its manifest's and its lease's environment, and nothing else", async () => {
  process.env.SLUICE_TEST_SECRET = "s3cret";
  onTestFinished(() => {
    delete process.env.SLUICE_TEST_SECRET;
  });
  const { executor, script } = house();
  script("env", "console.log(JSON.stringify(process.env))", { env: { HF_HOME: "/models" } });
  const outcome = await executor.outcome(executor.start(request("env")), never);
  const given = outcome.ok ? (outcome.result as Record<string, string>) : {};
  const lease = ["CUDA_VISIBLE_DEVICES", "HF_HOME", "SLUICE_LEASE_ID", "SLUICE_LEASE_TOKEN"];
  const own = ["HOME", "LANG", "PATH"].filter((name) => process.env[name] !== undefined);
  // macOS adds one of its own to every process.
  expect(
    Object.keys(given)
      .filter((n) => !n.startsWith("__CF"))
      .sort(),
  ).toEqual([...lease, ...own].sort());
  expect(given).toMatchObject({ HF_HOME: "/models", CUDA_VISIBLE_DEVICES: "GPU-0" });
});

it("does not ask for admission before the arguments are right", () => {
  const { admission, executor, plugin } = house();
  const schema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
  plugin("p", [node, "{file}"], { arguments_schema: schema });
  expect(reasonOf(() => executor.start(request("p")))).toBe("INVALID_ARGUMENT arguments.n");
  expect(reasonOf(() => executor.start(request("p", { arguments: { n: 1 } })))).toBe("INVALID_ARGUMENT arguments.file");
  expect(admission.requests).toEqual([]);
  expect(executor.list("")).toEqual([]);
});

it("refuses a plugin that is unknown or disabled, and to load one that has no worker", async () => {
  const { executor, registry, script } = house();
  script("p", "0");
  registry.setEnabled("p", false);
  expect(reasonOf(() => executor.start(request("x")))).toBe("PLUGIN_NOT_FOUND");
  expect(reasonOf(() => executor.start(request("p")))).toBe("PLUGIN_DISABLED");
  await expect(executor.load("p", never)).rejects.toMatchObject({ reason: "NOT_A_WORKER" });
  await expect(executor.unload("p")).rejects.toMatchObject({ reason: "NOT_A_WORKER" });
  await expect(executor.release("p")).rejects.toMatchObject({ reason: "NOT_A_WORKER" });
});

it("tells a refusal and a time-out with their reasons, and starts nothing", async () => {
  const { admission, executor, script } = house();
  script("p", "0");
  admission.mode = full;
  const refused = await all(executor.watch(executor.start(request("p")), never));
  expect(refused).toMatchObject([{ kind: "failed", failure: { code: "NOT_ADMITTED", refusal: full } }]);
  expect(refused[0]).toHaveProperty(["failure", "message"], expect.stringContaining("GPU 0 has 100 MiB, 4096 MiB are needed."));
  admission.mode = "wait";
  const execution = executor.start(request("p", { timeoutMs: 5_000 }));
  const events = all(executor.watch(execution, never));
  await waitFor(() => admission.waiting.length === 1, "it waits");
  expect(admission.requests.at(-1)?.timeoutMs).toBeGreaterThan(4_000);
  expect(executor.get(execution.identity.id)).toMatchObject({ state: "queued", leaseId: "" });
  admission.timeOutNext(full);
  expect((await events).map((e) => e.kind)).toEqual(["queued", "failed"]);
  expect(executor.get(execution.identity.id)).toMatchObject({ state: "failed", failure: { code: "TIMED_OUT", refusal: full } });
  expect(admission.attached).toEqual([]);
});

it("passes on why it could not even be asked, and lets the same request_id ask again", async () => {
  const { admission, executor, script } = house();
  script("p", "console.log(1)");
  admission.mode = new Failure("QUEUE_FULL", "The queue is full.");
  const again = { requestId: "r" };
  await expect(executor.outcome(executor.start(request("p", again)), never)).rejects.toMatchObject({ reason: "QUEUE_FULL" });
  await expect(all(executor.watch(executor.start(request("p", again)), never))).rejects.toMatchObject({ reason: "QUEUE_FULL" });
  admission.mode = "grant";
  expect(await executor.outcome(executor.start(request("p", again)), never)).toEqual({ ok: true, result: 1 });
});

it("says how a plugin failed: exit code, signal, last words", async () => {
  const { executor, script, plugin, admission } = house();
  const failure = async (name: string) => {
    const outcome = await executor.outcome(executor.start(request(name)), never);
    return outcome.ok ? undefined : outcome.failure;
  };
  script("code", 'console.error("first"); console.error("no such file: a.wav"); process.exitCode = 3');
  expect(await failure("code")).toEqual({
    code: "EXIT",
    exitCode: 3,
    message: 'Plugin "code" ended with exit code 3; the last line on its stderr: no such file: a.wav',
    stderrTail: "first\nno such file: a.wav\n",
  });
  script(
    "oom",
    'console.error("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20 MiB\\n"); process.exitCode = 1',
    {
      resources: { requires_gpu: true, min_gpu_vram_mb: 4096 },
    },
  );
  expect((await failure("oom"))?.message).toMatch(/the GPU ran out of memory: raise resources.min_gpu_vram_mb \(now 4096\)/);
  script("killed", 'process.kill(process.pid, "SIGKILL")');
  expect(await failure("killed")).toMatchObject({
    code: "EXIT",
    signal: "SIGKILL",
    message: expect.stringContaining("sluice did not do that"),
  });
  plugin("missing", ["no-such-program-here"]);
  expect(await failure("missing")).toMatchObject({ code: "SPAWN", message: expect.stringContaining("was not found") });
  script("big", "console.log(JSON.stringify('x'.repeat(2e6)))");
  expect(await failure("big")).toMatchObject({
    code: "BAD_RESULT",
    message: expect.stringContaining("larger than 1048576 bytes"),
  });
  script("noise", "console.error('x'.repeat(100000)); process.exitCode = 1");
  expect((await failure("noise"))?.stderrTail).toHaveLength(4096);
  expect(admission.held).toBe(0);
  expect([...admission.executions.values()].every(Boolean)).toBe(true);
});

it("gives the lease back when it turns out to be lost at the start", async () => {
  const { admission, executor, script } = house();
  script("p", waits);
  admission.startError = new Failure("LEASE_EXPIRED", "The lease has ended.");
  const outcome = await executor.outcome(executor.start(request("p")), never);
  expect(outcome).toMatchObject({
    ok: false,
    failure: { code: "LEASE_LOST", message: expect.stringContaining("The lease has ended.") },
  });
  expect([...admission.released.values()]).toEqual([1]);
});

it("ends a process whose lease is lost as it is attached", async () => {
  const { admission, executor, script } = house();
  script("p", waits);
  let pid = 0;
  admission.attachProcess = (_lease, _token, attached) => {
    pid = attached;
    throw new Failure("STALE_TOKEN", "The token is stale.");
  };
  const outcome = await executor.outcome(executor.start(request("p")), never);
  expect(outcome).toMatchObject({ ok: false, failure: { code: "LEASE_LOST" } });
  expect(running(pid)).toBe(false);
  expect(admission.log.map((l) => l.split(" ")[0])).toEqual(["grant", "start", "finish", "release"]);
});

it("runs no more executions of a plugin than its manifest allows, in order, and says why the others wait", async () => {
  const { admission, executor, script } = house();
  const folder = mkdtempSync(join(tmpdir(), "sluice-turns-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const gate = (n: number) => join(folder, String(n));
  const opens =
    'const n = process.argv[1]; const look = () => (require("node:fs").existsSync(n) ? console.log(1) : setTimeout(look, 10)); look()';
  script("p", opens, { command: [node, "-e", opens, "{file}"], max_concurrency: 2 });
  const executions = [0, 1, 2, 3].map((n) => executor.start(request("p", { arguments: { file: gate(n) } })));
  const [, , third, fourth] = executions as [never, never, (typeof executions)[0], (typeof executions)[0]];
  const told: ExecutionEvent[] = [];
  const reading = (async () => {
    for await (const event of executor.watch(fourth, never)) told.push(event);
  })();
  await waitFor(() => admission.attached.length === 2, "two run");
  expect(executor.unfinishedOf("p")).toBe(4);
  expect(admission.requests).toHaveLength(2);
  writeFileSync(gate(1), "");
  await waitFor(() => third.state === "running", "the third runs");
  await waitFor(() => told.length === 2, "the fourth was told that it moved up");
  expect(fourth.state).toBe("queued");
  const reason = { code: "BEHIND_IN_QUEUE", message: 'Plugin "p" runs 2 of 2 executions (its max_concurrency).' };
  expect(told).toEqual([
    { kind: "queued", place: { position: 2, reasons: [reason] } },
    { kind: "queued", place: { position: 1, reasons: [reason] } },
  ]);
  for (const n of [0, 2, 3]) writeFileSync(gate(n), "");
  await Promise.all([reading, ...executions.map((e) => e.done)]);
  expect(executions.map((e) => e.state)).toEqual(["succeeded", "succeeded", "succeeded", "succeeded"]);
});

it("counts the wait for a turn into the timeout", async () => {
  const { admission, executor, script } = house();
  script("p", waits);
  const first = executor.start(request("p"));
  const second = executor.start(request("p", { timeoutMs: 50 }));
  const outcome = await executor.outcome(second, never);
  expect(outcome).toMatchObject({
    ok: false,
    failure: { code: "TIMED_OUT", refusal: { reasons: [{ code: "BEHIND_IN_QUEUE" }] } },
  });
  await executor.cancel(first.identity.id);
  expect(admission.requests).toHaveLength(1);
});

it("lets waiting executions in when max_concurrency is raised", async () => {
  const { admission, executor, script } = house();
  script("p", waits);
  const both = [executor.start(request("p")), executor.start(request("p"))];
  await waitFor(() => admission.attached.length === 1, "one runs");
  script("p", waits, { max_concurrency: 2 });
  executor.pluginsChanged();
  await waitFor(() => admission.attached.length === 2, "both run");
  await Promise.all(both.map((e) => executor.cancel(e.identity.id)));
});

it("cancels what waits for its turn, what waits for memory, and what runs with all its processes", async () => {
  const { admission, executor, script } = house();
  admission.mode = "wait";
  script("p", waits);
  const first = executor.start(request("p"));
  const second = executor.start(request("p"));
  await waitFor(() => admission.waiting.length === 1, "the first waits for memory");
  expect(await executor.cancel(second.identity.id)).toMatchObject({ state: "cancelled", failure: { code: "CANCELLED" } });
  expect(await executor.cancel(first.identity.id)).toMatchObject({ state: "cancelled", leaseId: "" });
  expect(admission.waiting).toEqual([]);
  admission.mode = "grant";
  const child =
    'const c = require("node:child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]); console.log(c.pid);';
  script("tree", child + waits);
  const third = executor.start(request("tree"));
  const events = executor.watch(third, never);
  let pid = 0;
  for await (const event of events) {
    if (event.kind === "log") void executor.cancel(third.identity.id);
    if (event.kind === "log" && pid === 0) pid = Number(event.line);
  }
  // The pid is held back as a possible result until "up" follows.
  expect(pid).toBeGreaterThan(1);
  expect([running(pid), running(admission.attached[0] as number)]).toEqual([false, false]);
  expect(await executor.cancel(third.identity.id)).toMatchObject({
    state: "cancelled",
    failure: { code: "CANCELLED", signal: "SIGTERM" },
  });
  expect(admission.held).toBe(0);
  await expect(executor.cancel("nobody")).rejects.toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
});

it("cancels an execution whose reader or caller went away", async () => {
  const { admission, executor, script } = house();
  script("p", waits, { max_concurrency: 9 });
  const left = executor.start(request("p"));
  for await (const event of executor.watch(left, never)) if (event.kind === "log") break;
  const gone = new AbortController();
  const called = executor.start(request("p"));
  const answer = executor.outcome(called, gone.signal);
  const cut = new AbortController();
  const streamed = executor.start(request("p"));
  const reading = all(executor.watch(streamed, cut.signal));
  await waitFor(() => admission.attached.length === 3, "all run");
  gone.abort();
  cut.abort();
  expect(await reading).not.toContainEqual(expect.objectContaining({ kind: "result" }));
  expect(await answer).toMatchObject({ ok: false, failure: { code: "CANCELLED" } });
  await Promise.all([left.done, streamed.done]);
  expect(admission.attached.map(running)).toEqual([false, false, false]);
  expect(admission.held).toBe(0);
});

it("finds an execution again by its request_id after its reader went away, and tells how it stands and the rest", async () => {
  const { admission, executor, script } = house();
  script(
    "p",
    'process.on("SIGUSR2", () => { console.log("bye"); console.log(5); process.exit(0) }); console.log("up"); setInterval(() => {}, 1000)',
  );
  const asked = request("p", { requestId: "r-1", arguments: { a: 1, b: 2 } });
  const execution = executor.start(asked);
  for await (const event of executor.watch(execution, never)) if (event.kind === "log") break;
  const again = executor.start({ ...asked, arguments: { b: 2, a: 1 } });
  expect(again).toBe(execution);
  const events = all(executor.watch(again, never));
  expect(running(admission.attached[0] as number)).toBe(true);
  process.kill(admission.attached[0] as number, "SIGUSR2");
  expect((await events).map((e) => e.kind)).toEqual(["admitted", "started", "log", "result"]);
  expect(await all(executor.watch(executor.start(asked), never))).toEqual([{ kind: "result", result: 5 }]);
  expect(admission.requests).toHaveLength(1);
  for (const other of [{ arguments: { a: 2 } }, { plugin: "q" }, { tenant: "somebody else" }]) {
    expect(reasonOf(() => executor.start({ ...asked, ...other }))).toBe("INVALID_ARGUMENT request_id");
  }
});

it("lets an execution with a request_id go on when its unary caller goes away", async () => {
  const { admission, executor, script } = house();
  script(
    "p",
    'process.on("SIGUSR2", () => { console.log(5); process.exit(0) }); setInterval(() => {}, 1000); console.error("up")',
  );
  const asked = request("p", { requestId: "r" });
  const gone = new AbortController();
  const answer = executor.outcome(executor.start(asked), gone.signal);
  const events = executor.watch(executor.start(asked), never);
  for await (const event of events) if (event.kind === "log") break;
  gone.abort();
  await expect(answer).rejects.toMatchObject({ reason: "EXECUTION_CANCELLED" });
  const later = executor.outcome(executor.start(asked), never);
  process.kill(admission.attached[0] as number, "SIGUSR2");
  expect(await later).toEqual({ ok: true, result: 5 });
});

it("makes a plugin wait for a slow reader, keeps memory bounded and loses no line", async () => {
  const { executor, script } = house();
  const lines = 60_000;
  const folder = mkdtempSync(join(tmpdir(), "sluice-slow-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const written = join(folder, "written");
  const code = `const fs = require("node:fs");
    for (let n = 1; n <= ${lines}; n += 1) {
      fs.writeSync(1, "line " + n + " ".repeat(50) + "\\n");
      if (n % 200 === 0) fs.writeFileSync(${JSON.stringify(written)}, String(n));
    }`;
  script("p", code);
  const events = executor.watch(executor.start(request("p")), never);
  const seen: string[] = [];
  while (seen.length < 10) {
    const { value } = await events.next();
    if (value?.kind === "log") seen.push(value.line.trim());
  }
  // Nobody reads now: it must come to a halt long before the end.
  let last = "";
  let still = 0;
  await waitFor(() => {
    const now = existsSync(written) ? readFileSync(written, "utf8") : "";
    still = now !== "" && now === last ? still + 1 : 0;
    last = now;
    return still > 30;
  }, "the plugin is held up");
  expect(Number(last)).toBeLessThan(lines / 4);
  for (let next = await events.next(); !next.done; next = await events.next()) {
    if (next.value.kind === "log") seen.push(next.value.line.trim());
  }
  expect(seen).toHaveLength(lines);
  expect(seen.every((line, i) => line === `line ${i + 1}`)).toBe(true);
});

it("bounds how many executions run and wait", async () => {
  const { executor, script } = house({ maxExecutions: 3 });
  script("p", waits);
  const three = [1, 2, 3].map(() => executor.start(request("p")));
  expect(reasonOf(() => executor.start(request("p")))).toBe("TOO_MANY_EXECUTIONS");
  await executor.cancel((three[2] as (typeof three)[0]).identity.id);
  const fourth = executor.start(request("p"));
  await Promise.all([...three.slice(0, 2), fourth].map((e) => executor.cancel(e.identity.id)));
});

it("remembers the last 1,000 finished executions and forgets older ones, their request_ids too", async () => {
  let n = 0;
  const newId = () => {
    n += 1;
    return `x${n}`;
  };
  const run = { prepare: () => ({ run: async () => ({ ok: true as const, result: 1 }) }) };
  const { executor, script } = house({ commands: run, newId });
  script("p", "0", { max_concurrency: 1024 });
  for (let i = 0; i < 1_010; i += 1) await executor.start(request("p", { requestId: i === 0 ? "first" : "" })).done;
  await waitFor(() => executor.unfinishedOf("p") === 0, "all are over");
  expect(executor.list("", 2_000)).toHaveLength(1_000);
  expect(executor.list("")[0]?.id).toBe("x1010");
  expect(reasonOf(() => executor.get("x10"))).toBe("EXECUTION_NOT_FOUND");
  expect(executor.get("x11").state).toBe("succeeded");
  expect(executor.start(request("p", { requestId: "first" })).identity.id).toBe("x1011");
});

it("does not keep a thousand large results: the oldest are forgotten first", async () => {
  const run = { prepare: () => ({ run: async () => ({ ok: true as const, result: "x".repeat(1_000_000) }) }) };
  const { executor, script } = house({ commands: run });
  script("p", "0");
  for (let i = 0; i < 100; i += 1) await executor.start(request("p")).done;
  await waitFor(() => executor.unfinishedOf("p") === 0, "all are over");
  expect(executor.list("").length).toBeLessThanOrEqual(67);
  expect(executor.list("").length).toBeGreaterThan(50);
});

it("shuts down: takes nothing new, turns away what waits, lets what runs finish within the grace", async () => {
  const { admission, executor, script } = house();
  script(
    "short",
    'process.on("SIGUSR2", () => { console.log(1); process.exit(0) }); console.error("up"); setInterval(() => {}, 1000)',
  );
  const runs = executor.start(request("short"));
  const waiting = executor.outcome(executor.start(request("short")), never);
  for await (const event of executor.watch(executor.start(request("short", { requestId: "r" })), AbortSignal.timeout(1)))
    void event;
  const events = executor.watch(runs, never);
  for (let next = await events.next(); next.value?.kind !== "log"; ) next = await events.next();
  const over = executor.shutdown(60_000);
  await expect(waiting).rejects.toMatchObject({ reason: "DRAINING" });
  expect(reasonOf(() => executor.start(request("short")))).toBe("DRAINING");
  expect(runs.state).toBe("running");
  process.kill(admission.attached[0] as number, "SIGUSR2");
  await over;
  expect(runs.state).toBe("succeeded");
  expect(admission.held).toBe(0);
});

it("ends what still runs when the grace of a shutdown is over", async () => {
  const { admission, executor, script } = house();
  script("p", waits);
  const runs = executor.start(request("p"));
  await waitFor(() => admission.attached.length === 1, "it runs");
  await executor.shutdown(50);
  expect(runs.view()).toMatchObject({ state: "cancelled", failure: { message: expect.stringContaining("shut down") } });
  expect(running(admission.attached[0] as number)).toBe(false);
});

it("gives everything back even when giving back throws, and tells the log", async () => {
  const { admission, executor, script, errors } = house();
  script("p", "console.log(1)");
  const released: string[] = [];
  admission.finishExecution = () => {
    throw new Error("the books are gone");
  };
  admission.release = (lease) => void released.push(lease);
  expect(await executor.outcome(executor.start(request("p")), never)).toEqual({ ok: true, result: 1 });
  expect(released).toHaveLength(1);
  expect(errors).toHaveLength(1);
});
