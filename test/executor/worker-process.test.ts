import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { JsonValue } from "../../src/executor/json.ts";
import type { ProcessRegister } from "../../src/executor/process-register.ts";
import type { InitializeOptions } from "../../src/executor/worker-options.ts";
import { WorkerProcess } from "../../src/executor/worker-process.ts";
import { Call, type FakeOptions, Loader, loadedFake, params, SlowCall, startFake } from "../fakes/worker/rig.ts";
import { waitFor } from "../wait-for.ts";
import { running } from "./house.ts";

/** Bytes that a process has written so far, to whatever. */
function writtenBy(pid: number): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "latin1"))?.[1]);
}

const linux = process.platform === "linux";

const workers: WorkerProcess[] = [];
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(workers.splice(0).map((w) => w.kill()));
});

async function loaded(...how: Parameters<typeof loadedFake>): Promise<WorkerProcess> {
  const worker = await loadedFake(...how);
  workers.push(worker);
  return worker;
}

async function started(...how: Parameters<typeof startFake>): Promise<WorkerProcess> {
  const worker = await startFake(...how);
  workers.push(worker);
  return worker;
}

describe("loading", () => {
  it("is over when the worker answers, and tells whether it can release", async () => {
    const end = await new Loader().load(await started({ canRelease: true }));
    expect(end).toMatchObject({ kind: "ready", canRelease: true });
    expect(end.kind === "ready" && end.tookMs).toBeGreaterThan(0);
    expect(await new Loader().load(await started())).toMatchObject({ kind: "ready", canRelease: false });
  });

  it("tells why it failed, and ends the worker", async () => {
    const worker = await started({ load: "error", code: 7, data: { fatal: true } });
    expect(await new Loader().load(worker)).toEqual({ kind: "error", code: 7, message: "no such model", fatal: true });
    await worker.ended;
    expect(running(worker.pid)).toBe(false);
  });

  it("tells how much memory was missing", async () => {
    const data = { resource: "gpu", needed_mb: 9_000 };
    const end = await new Loader().load(await started({ load: "error", code: -32001, data }));
    expect(end).toEqual({ kind: "out-of-memory", resource: "gpu", neededMb: 9_000, message: "no such model" });
  });

  it("is lost with a worker that ends, and shows its last words", async () => {
    const loader = new Loader();
    const end = await loader.load(await started({ load: "die" }));
    const report = { code: 3, weKilled: false, left: 0 };
    expect(end).toEqual({ kind: "lost", report, stderrTail: "no such model\n" });
    expect(loader.lines).toEqual(["no such model"]);
  });

  it("can be cancelled, which ends the worker", async () => {
    const worker = await started({ load: "slow" });
    const controller = new AbortController();
    const loader = new Loader();
    const end = loader.load(worker, { signal: controller.signal });
    await waitFor(() => loader.lines.length > 0, "it loads");
    controller.abort();
    expect(await end).toEqual({ kind: "cancelled" });
    await worker.ended;
    expect(running(worker.pid)).toBe(false);
  });

  it("has stalled when nothing was heard for stallMs, and says what was heard last", async () => {
    const worker = await started({ load: "slow" });
    const loader = new Loader();
    const end = await loader.load(worker, { stallMs: 1_500 });
    expect(end).toEqual({ kind: "stalled", lastHeard: 'the line "begins"', stderrTail: "" });
    await worker.ended;
    expect(running(worker.pid)).toBe(false);
  });

  it("says of a worker that never said anything that nothing was heard", async () => {
    const worker = await started({}, {}, { argv: [process.execPath, "-e", "setInterval(() => {}, 1000)"] });
    expect(await new Loader().load(worker, { stallMs: 100 })).toMatchObject({ kind: "stalled", lastHeard: undefined });
  });

  /** Loads with a clock that stands still but for `tick`; the worker says something when it gets a signal. */
  async function slowLoad(more: Pick<Partial<InitializeOptions>, "memoryMb" | "ready"> = {}, begun?: () => boolean) {
    const worker = await started({ load: "slow" });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const loader = new Loader();
    const loading = loader.load(worker, { stallMs: 1_000, ...more });
    let over = false;
    void loading.then(() => {
      over = true;
    });
    const heard = (what: string, condition: () => boolean) => waitFor(condition, what);
    await heard("it loads", begun ?? (() => loader.lines.length > 0));
    return { worker, loader, loading, over: () => over, heard, tick: (ms: number) => vi.advanceTimersByTimeAsync(ms) };
  }

  it("goes on past stallMs as long as there is progress", async () => {
    const { worker, loader, loading, over, heard, tick } = await slowLoad();
    for (let i = 1; i <= 5; i += 1) {
      await tick(900);
      process.kill(worker.pid, "SIGUSR2");
      await heard(`progress ${i}`, () => loader.progress.length === i);
    }
    expect(over()).toBe(false);
    expect(loader.progress[0]).toEqual({ message: "shard", fraction: 0.5 });
    process.kill(worker.pid, "SIGHUP");
    expect(await loading).toMatchObject({ kind: "ready" });
  });

  it("goes on past stallMs as long as stderr moves, be it without a line end", async () => {
    const { worker, over, heard, tick, loading } = await slowLoad();
    for (let i = 1; i <= 3; i += 1) {
      await tick(900);
      process.kill(worker.pid, "SIGWINCH");
      await heard(`dot ${i}`, () => worker.stderrTail().length === i);
    }
    expect(over()).toBe(false);
    await tick(1_000);
    expect(await loading).toMatchObject({ kind: "stalled", stderrTail: "..." });
  });

  it("goes on past stallMs as long as somebody sees memory grow", async () => {
    const { worker, over, tick, loading } = await slowLoad();
    for (let i = 1; i <= 3; i += 1) {
      await tick(900);
      worker.memoryGrew();
    }
    await tick(900);
    expect(over()).toBe(false);
    await tick(100);
    expect(await loading).toMatchObject({ kind: "stalled", lastHeard: "that its memory grew" });
  });

  it("asks for its memory before it is held to have stalled; memory that is not known is no growth", async () => {
    const measured: (number | undefined)[] = [100, 200, undefined, 200, 210];
    const { over, tick, loading } = await slowLoad({ memoryMb: () => measured.shift() });
    await tick(1_000);
    expect(over()).toBe(false);
    await tick(1_000);
    expect(await loading).toMatchObject({ kind: "stalled", lastHeard: "that its memory grew" });
    expect(measured).toEqual([200, 210]);
  });

  it("has not stalled while nobody reads what the worker says", async () => {
    let free = () => {};
    const taken = new Promise<void>((resolve) => {
      free = resolve;
    });
    let full = true;
    let asked = false;
    const ready = () => {
      asked = true;
      return full ? taken : undefined;
    };
    const { loader, over, tick, loading } = await slowLoad({ ready }, () => asked);
    expect(loader.lines).toEqual([]);
    await tick(10_000);
    expect(over()).toBe(false);
    full = false;
    free();
    await waitFor(() => loader.lines.length === 1, "the line was told");
    await tick(1_000);
    expect(await loading).toMatchObject({ kind: "stalled", lastHeard: 'the line "begins"' });
  });

  it("happens once", async () => {
    const worker = await loaded();
    await expect(new Loader().load(worker)).rejects.toThrow("already");
  });
});

describe("a call", () => {
  it("ends with the result, whatever kind of JSON it is", async () => {
    const worker = await loaded();
    for (const value of [null, 0, false, "", [], { a: [1, { b: "ü" }] }] as JsonValue[]) {
      expect(await new Call().run(worker, { do: "echo", value })).toEqual({ kind: "result", value });
    }
  });

  it("runs beside others", async () => {
    const worker = await loaded();
    const [a, b] = [new Call(), new Call()];
    const waiting = a.run(worker, { do: "wait" });
    expect(await b.run(worker, { do: "echo", value: 1 })).toEqual({ kind: "result", value: 1 });
    a.controller.abort();
    expect(await waiting).toEqual({ kind: "cancelled" });
  });

  it("ends with the error that the worker tells", async () => {
    const worker = await loaded();
    const error = (more: object) => new Call().run(worker, { do: "error", message: "bad", ...more });
    expect(await error({ code: -32602 })).toEqual({ kind: "error", code: -32602, message: "bad", fatal: false });
    expect(await error({ code: 5, data: { fatal: true } })).toEqual({ kind: "error", code: 5, message: "bad", fatal: true });
    expect(await error({ code: 5, data: "fatal" })).toMatchObject({ kind: "error", fatal: false });
    expect(await error({ code: -32099 })).toMatchObject({ kind: "error", code: -32099 });
    expect(await error({ code: -32800 })).toMatchObject({ kind: "error", code: -32800 });
    const long = await error({ code: 1, message: "ü".repeat(10_000) });
    expect(Buffer.byteLength(long.kind === "error" ? long.message : "")).toBeLessThanOrEqual(4_096);
  });

  it("ends as out of memory only when the worker says which memory", async () => {
    const worker = await loaded();
    const error = (data?: object) =>
      new Call().run(worker, { do: "error", code: -32001, message: "oom", ...(data && { data: data as { a: 1 } }) });
    const end = { kind: "out-of-memory", message: "oom" };
    expect(await error({ resource: "ram" })).toEqual({ ...end, resource: "ram", neededMb: undefined });
    expect(await error({ resource: "gpu", needed_mb: 1.5 })).toEqual({ ...end, resource: "gpu", neededMb: 1.5 });
    expect(await error({ resource: "gpu", needed_mb: 0 })).toMatchObject({ resource: "gpu", neededMb: undefined });
    expect(await error({ resource: "gpu", needed_mb: "9" })).toMatchObject({ resource: "gpu", neededMb: undefined });
    expect(await error()).toMatchObject({ kind: "error", code: -32001 });
    expect(await error({ resource: "disk" })).toMatchObject({ kind: "error", code: -32001 });
  });

  it("never takes an error without a code for missing memory", async () => {
    const worker = await loaded();
    const call = new Call();
    const end = call.run(worker, { do: "raw", text: '{"jsonrpc":"2.0","id":1,"error":{"message":"x"}}\n', answer: false });
    expect(await end).toMatchObject({ kind: "error", code: -32603, message: "x" });
  });

  it("has a bad result when that cannot be passed on, and the worker is well", async () => {
    const worker = await loaded();
    let deep: JsonValue = 1;
    for (let i = 0; i < 40; i += 1) deep = [deep];
    expect(await new Call().run(worker, { do: "echo", value: deep })).toMatchObject({
      kind: "bad-result",
      problem: /levels deep/,
    });
    const most = "x".repeat(1_048_576 - 2);
    expect(await new Call().run(worker, { do: "echo", value: most })).toEqual({ kind: "result", value: most });
    const large = { kind: "bad-result", problem: "Its result is larger than 1048576 bytes." };
    expect(await new Call().run(worker, { do: "echo", value: `${most}x` })).toEqual(large);
    const head = '{"jsonrpc":"2.0","id":ID,"result":"';
    expect(await new Call().run(worker, { do: "longLine", head, bytes: 5_000_000, answer: false })).toEqual(large);
    expect(await new Call().run(worker, { do: "echo", value: 1 })).toEqual({ kind: "result", value: 1 });
  });

  it("is lost, and the worker ended, when an answer was too long to tell whose it was", async () => {
    const worker = await loaded();
    const end = await new Call().run(worker, { do: "longLine", head: '{"result":"', bytes: 5_000_000, answer: false });
    expect(end).toMatchObject({ kind: "lost", report: { weKilled: true }, problem: expect.stringContaining("4194304") });
  });

  it("takes a very long line that is no message for log", async () => {
    const worker = await loaded();
    const call = new Call();
    expect(await call.run(worker, { do: "longLine", head: "print", bytes: 5_000_000 })).toMatchObject({ kind: "result" });
    expect(call.lines).toEqual([`print${"x".repeat(8_192 - 5)}`]);
  });

  it("of an execution that is under way already is refused", async () => {
    const worker = await loaded();
    const call = new Call();
    const end = call.run(worker, { do: "wait" });
    await expect(call.run(worker, { do: "echo", value: 1 })).rejects.toThrow(call.executionId);
    call.controller.abort();
    expect(await end).toEqual({ kind: "cancelled" });
  });
});

describe("a cancelled call", () => {
  it("is given up by a worker that listens", async () => {
    const worker = await loaded();
    const call = new Call();
    const end = call.run(worker, { do: "wait" });
    call.controller.abort();
    expect(await end).toEqual({ kind: "cancelled" });
    expect(await new Call().run(worker, { do: "echo", value: 1 })).toMatchObject({ kind: "result" });
  });

  it("ends with its result when it was too late", async () => {
    const worker = await loaded();
    const call = new Call();
    const end = call.run(worker, { do: "wait", late: true });
    call.controller.abort();
    expect(await end).toEqual({ kind: "result", value: "late" });
  });

  it("is not begun when it was cancelled before", async () => {
    const worker = await loaded();
    const call = new Call();
    call.controller.abort();
    expect(await call.run(worker, { do: "die" })).toEqual({ kind: "cancelled" });
    expect(await new Call().run(worker, { do: "echo", value: 1 })).toMatchObject({ kind: "result" });
  });

  it("ends with a worker that does not listen; others on it are lost and told why", async () => {
    const worker = await loaded({}, { cancelGraceMs: 50 });
    const [call, other] = [new Call(), new Call()];
    const ends = [call.run(worker, { do: "hang" }), other.run(worker, { do: "hang" })];
    call.controller.abort();
    expect(await Promise.all(ends)).toEqual([
      { kind: "cancelled" },
      {
        kind: "lost",
        report: { signal: "SIGTERM", weKilled: true, left: 0 },
        stderrTail: "",
        problem: `It did not answer when execution ${call.executionId} was cancelled.`,
      },
    ]);
    expect(running(worker.pid)).toBe(false);
  });

  it("that is not answered is over for its caller, and others on the worker go on where somebody is told to end it", async () => {
    let stuck = 0;
    const onStuck = () => {
      stuck += 1;
    };
    const worker = await loaded({}, { cancelGraceMs: 50, onStuck });
    const [call, other] = [new Call(), new Call()];
    const [end, otherEnd] = [call.run(worker, { do: "hang" }), other.run(worker, { do: "wait" })];
    call.controller.abort();
    expect(await end).toEqual({ kind: "cancelled" });
    expect([stuck, running(worker.pid)]).toEqual([1, true]);
    other.controller.abort();
    expect(await otherEnd).toEqual({ kind: "cancelled" });
    const alone = new Call();
    const last = alone.run(worker, { do: "hang" });
    alone.controller.abort();
    expect(await last).toEqual({ kind: "cancelled" });
    expect([stuck, running(worker.pid)]).toEqual([2, false]);
  });

  it("does not cost the worker its life when the answer lies behind what somebody else does not take", async () => {
    const worker = await loaded({}, { cancelGraceMs: 100, slowReaderMs: 60_000 });
    const [slow, call] = [new SlowCall(2), new Call()];
    const saying = slow.run(worker, { do: "say", count: 5_000 });
    await waitFor(() => slow.full, "the reader is full");
    const waiting = call.run(worker, { do: "wait" });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    call.controller.abort();
    await vi.advanceTimersByTimeAsync(59_000);
    vi.useRealTimers();
    slow.hurry();
    expect(await Promise.all([saying, waiting])).toEqual([{ kind: "result", value: null }, { kind: "cancelled" }]);
  });

  it("does not wait for its own reader any more", async () => {
    const worker = await loaded({}, { slowReaderMs: 60_000 });
    const call = new SlowCall(2);
    const end = call.run(worker, { do: "say", count: 5_000 });
    await waitFor(() => call.full, "the reader is full");
    call.controller.abort();
    expect(await end).toEqual({ kind: "result", value: null });
    expect(call.lines).toEqual(["0", "1"]);
    expect(call.stderr).toEqual(["sluice: 4998 messages were dropped here, because nobody took them in time."]);
  });
});

describe("what a worker says", () => {
  it("goes to the execution that it names, else to all that are served", async () => {
    const worker = await loaded();
    const [a, b] = [new Call(), new Call()];
    const waiting = a.run(worker, { do: "wait" });
    const list = [
      { method: "log", params: { execution_id: "own", message: "mine" } },
      { method: "log", params: { message: "all" } },
      { method: "log", params: { execution_id: a.executionId, message: "theirs" } },
      { method: "log", params: { execution_id: "unknown", message: "nobody's" } },
      { method: "progress", params: { execution_id: "own", message: "half", fraction: 0.5 } },
      { method: "progress", params: { message: "everybody" } },
    ];
    await b.run(worker, { do: "notify", list });
    await b.run(worker, { do: "raw", text: 'stray\n{"loss": 0.5}\n{"broken\n' });
    await b.run(worker, { do: "say", count: 1, by: "stderr", prefix: "err " });
    await waitFor(() => a.stderr.length > 0, "stderr was read");
    a.controller.abort();
    await waiting;
    const strays = ["stray", '{"loss": 0.5}', '{"broken'];
    expect(b.lines).toEqual(["mine", "all", ...strays]);
    expect(a.lines).toEqual(["all", "theirs", ...strays]);
    expect(b.progress).toEqual([
      { message: "half", fraction: 0.5 },
      { message: "everybody", fraction: undefined },
    ]);
    expect(a.progress).toEqual([{ message: "everybody", fraction: undefined }]);
    expect(a.stderr).toEqual(["err 0"]);
  });

  it("is told in order, before the result", async () => {
    const worker = await loaded();
    const call = new Call();
    const log = (message: string) => `{"jsonrpc":"2.0","method":"log","params":{"message":"${message}"}}\n`;
    await call.run(worker, { do: "raw", text: `1\n${log("2")}${log("3")}4\n${log("5")}6\n` });
    expect(call.lines).toEqual(["1", "2", "3", "4", "5", "6"]);
  });

  it("is ignored when it is malformed or unknown, and cut when it is long", async () => {
    const worker = await loaded();
    const call = new Call();
    const list = [
      { method: "$/cancelRequest" },
      { method: "$/cancelRequest", params: { id: 1 } },
      { method: "$/progress", params: { token: 1 } },
      { method: "unknown", params: {} },
      { method: "log" },
      { method: "log", params: ["a"] },
      { method: "log", params: { message: 1 } },
      { method: "log", params: { execution_id: 1, message: "a" } },
      { method: "progress", params: { execution_id: "own", message: 1 } },
      { method: "progress", params: { execution_id: "own" } },
      { method: "progress", params: { execution_id: "own", message: "a", fraction: "1" } },
      { method: "progress", params: { execution_id: "own", message: "b", fraction: 1.5 } },
      { method: "progress", params: { execution_id: "own", message: "c", fraction: -1 } },
      { method: "progress", params: { execution_id: "own", message: "ü".repeat(600) } },
      { method: "log", params: { execution_id: "own", message: `${"x".repeat(9_000)}` } },
    ];
    const requests =
      '{"jsonrpc":"2.0","id":1,"method":"ask"}\n{"jsonrpc":"2.0","id":99,"result":1}\n{"jsonrpc":"2.0","id":null,"result":1}\n';
    await call.run(worker, { do: "raw", text: requests });
    expect(await call.run(worker, { do: "notify", list: list as JsonValue[] })).toEqual({ kind: "result", value: null });
    expect(call.progress).toEqual([
      { message: "a", fraction: undefined },
      { message: "b", fraction: 1 },
      { message: "c", fraction: 0 },
      { message: "ü".repeat(512), fraction: undefined },
    ]);
    expect(call.lines).toEqual(["x".repeat(8_192)]);
  });

  it("is kept for failures when nobody is served", async () => {
    const worker = await loaded();
    await new Call().run(worker, { do: "raw", text: "" });
    const call = new Call();
    await call.run(worker, { do: "notify", list: [{ method: "log", params: { execution_id: "gone", message: "late" } }] });
    await waitFor(() => worker.stderrTail() === "late\n", "the line is kept");
    expect(call.lines).toEqual([]);
  });

  it("does not go to a call that is over", async () => {
    const worker = await loaded();
    const [a, b] = [new Call(), new Call()];
    await a.run(worker, { do: "echo", value: 1 });
    await b.run(worker, { do: "say", count: 3, anonymous: true });
    expect([a.lines.length, b.lines.length]).toEqual([0, 3]);
  });

  it("does not go to a call whose answer comes before it in the same breath", async () => {
    const worker = await loaded();
    const [a, b] = [new Call(), new Call()];
    const first = a.run(worker, { do: "hang" });
    await b.run(worker, { do: "raw", text: '{"jsonrpc":"2.0","id":1,"result":1}\nafter\n' });
    expect(await first).toEqual({ kind: "result", value: 1 });
    expect([a.lines, b.lines]).toEqual([[], ["after"]]);
  });

  it("does not hurt others when one that hears it throws", async () => {
    const errors: unknown[] = [];
    const worker = await loaded({}, { onError: (error) => errors.push(error) });
    const [a, b] = [new Call(), new Call()];
    a.onLog = () => {
      throw new Error("bug");
    };
    const waiting = a.run(worker, { do: "wait" });
    await b.run(worker, { do: "say", count: 2, anonymous: true });
    a.controller.abort();
    await waiting;
    expect(b.lines).toEqual(["0", "1"]);
    expect(errors).toHaveLength(2);
  });
});

describe("a slow reader", () => {
  it.each(["log", "stdout", "stderr", "progress"])(
    "loses nothing of 100,000 messages by %s, and little is kept",
    async (by) => {
      const worker = await loaded();
      const call = new SlowCall(256);
      const count = 100_000;
      const before = process.memoryUsage();
      let most = 0;
      let over = false;
      const end = call.run(worker, { do: "say", count, by }).finally(() => {
        over = true;
      });
      const heard = () => call.lines.length + call.stderr.length + call.progress.length;
      while (!over) {
        await new Promise((resolve) => setImmediate(resolve));
        call.take();
        most = Math.max(most, process.memoryUsage().external);
      }
      expect(await end).toEqual({ kind: "result", value: null });
      expect(heard()).toBe(count);
      const told = by === "progress" ? call.progress.map((p) => p.message) : by === "stderr" ? call.stderr : call.lines;
      expect(told.every((line, i) => line === String(i))).toBe(true);
      // What is not in lines is in buffers: a chunk or two.
      expect(most - before.external).toBeLessThan(4_000_000);
      if (by !== "progress") expect(call.mostKept).toBeLessThanOrEqual(256);
    },
    60_000,
  );

  it.each(["log", "stderr", "stdout"])("makes a worker wait that writes %s without end", async (by) => {
    const worker = await loaded();
    const call = new SlowCall(10);
    const before = process.memoryUsage().heapUsed;
    const prefix = "x".repeat(1_000);
    const end = call.run(worker, { do: "say", count: 100_000, by, prefix });
    await waitFor(() => call.full, "the reader is full");
    const other = new Call();
    const asked = other.run(worker, { do: "echo", value: 1 });
    const written: number[] = [];
    await waitFor(() => {
      written.push(writtenBy(worker.pid));
      return written.length > 20 && written.slice(-20).every((bytes) => bytes === written.at(-1));
    }, "it writes no more");
    // Of a hundred million: what pipes and buffers hold.
    expect(written.at(-1)).toBeGreaterThan(10_000);
    expect(written.at(-1)).toBeLessThan(5_000_000);
    expect(call.lines.length + call.stderr.length).toBe(10);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20_000_000);
    await worker.kill();
    expect((await Promise.all([end, asked])).map((e) => e.kind)).toEqual(["lost", "lost"]);
  });

  it("that takes nothing for too long holds up nobody: its logs are dropped and counted, its result comes", async () => {
    const worker = await loaded({}, { slowReaderMs: 100 });
    const [slow, other] = [new SlowCall(10), new Call()];
    const ends = [slow.run(worker, { do: "say", count: 1_000 }), other.run(worker, { do: "say", count: 1_000 })];
    expect(await Promise.all(ends)).toEqual([
      { kind: "result", value: null },
      { kind: "result", value: null },
    ]);
    expect(slow.tooSlowTimes).toBe(1);
    expect(slow.lines).toHaveLength(10);
    expect(slow.stderr).toEqual([expect.stringMatching(/^sluice: 990 messages were dropped here/)]);
    expect(other.lines).toHaveLength(1_000);
    expect(other.tooSlowTimes).toBe(0);
  });

  it("hears all of stderr before the result, though that comes another way", async () => {
    const worker = await loaded();
    const call = new SlowCall(10);
    let over = false;
    const end = call.run(worker, { do: "say", count: 1_000, by: "stderr" }).finally(() => {
      over = true;
    });
    await waitFor(() => call.full, "the reader is full");
    // Its answer comes before this line, so it is there.
    const next = new Call();
    const after = next.run(worker, { do: "say", count: 1 });
    await waitFor(() => next.lines.length === 1, "what follows the answer was read");
    expect([over, call.stderr.length]).toEqual([false, 10]);
    call.hurry();
    expect(await Promise.all([end, after])).toEqual(Array(2).fill({ kind: "result", value: null }));
    expect(call.stderr).toHaveLength(1_000);
  });

  it("that takes something now and then is waited for", async () => {
    const worker = await loaded({}, { slowReaderMs: 5_000 });
    const call = new SlowCall(100);
    const end = call.run(worker, { do: "say", count: 1_000 });
    for (let i = 1; i < 10; i += 1) {
      await waitFor(() => call.lines.length === i * 100, `${i * 100} lines`);
      call.take();
    }
    expect(await end).toMatchObject({ kind: "result" });
    expect([call.lines.length, call.tooSlowTimes]).toEqual([1_000, 0]);
  });

  it("loses nothing that a worker wrote before it died", async () => {
    const worker = await loaded();
    const call = new SlowCall(5);
    const end = call.run(worker, { do: "say", count: 100 });
    const dying = new Call().run(worker, { do: "die", code: 1 });
    await dying;
    expect(await end).toMatchObject({ kind: "result" });
    expect(call.lines).toHaveLength(100);
  });
});

describe("the end of a worker", () => {
  it("loses every call, with its exit code and its last words", async () => {
    const worker = await loaded();
    const waiting = new Call().run(worker, { do: "wait" });
    const end = await new Call().run(worker, { do: "die", code: 5, say: "Traceback\n" });
    const lost = { kind: "lost", report: { code: 5, weKilled: false, left: 0 }, stderrTail: "Traceback\n" };
    expect([end, await waiting]).toEqual([lost, lost]);
    expect(await new Call().run(worker, { do: "echo" })).toEqual(lost);
    expect(await worker.ended).toEqual(lost.report);
    expect(await worker.release(1_000)).toBe(false);
    expect(await worker.shutdown()).toEqual(lost.report);
  });

  it("by a signal of somebody else is not ours", async () => {
    const worker = await loaded();
    const end = await new Call().run(worker, { do: "die", signal: "SIGKILL" });
    expect(end).toMatchObject({ kind: "lost", report: { signal: "SIGKILL", weKilled: false } });
  });

  it("by us says so, so that exit 137 is not taken for missing memory", async () => {
    const worker = await loaded({ ignoreTerm: true, ignoreEof: true });
    const end = new Call().run(worker, { do: "hang" });
    expect(await worker.kill()).toEqual({ signal: "SIGKILL", weKilled: true, left: 0 });
    expect(await end).toEqual({ kind: "lost", report: { signal: "SIGKILL", weKilled: true, left: 0 }, stderrTail: "" });
  });

  it("does not take away the answer that it wrote before", async () => {
    const worker = await loaded();
    const first = new Call().run(worker, { do: "hang" });
    await Promise.all([new Call().run(worker, { do: "die", lastAnswer: 1 }), worker.ended]);
    expect(await first).toEqual({ kind: "result", value: "last words" });
  });

  it("comes after every call is over, in the same turn or before", async () => {
    const worker = await loaded();
    const order: string[] = [];
    const call = new Call().run(worker, { do: "hang" }).then(() => order.push("call"));
    const end = worker.ended.then(() => order.push("worker"));
    void worker.kill();
    await Promise.all([call, end]);
    expect(order).toEqual(["call", "worker"]);
  });

  it.skipIf(!linux)("by itself is not explained by what it could not be told since", async () => {
    const worker = await loaded({}, {}, { killGraceMs: 2_500 });
    await new Call().run(worker, { do: "grandchild" });
    const end = await new Call().run(worker, { do: "die", code: 6 });
    expect(end).toEqual({ kind: "lost", report: { code: 6, weKilled: false, left: 0 }, stderrTail: "" });
  });

  it.skipIf(!linux)("is not reached before its grandchildren are gone, wherever they went", async () => {
    const marker = `SLUICE_LEASE_ID=worker-${process.pid}`;
    const env = { PATH: process.env.PATH ?? "", SLUICE_LEASE_ID: `worker-${process.pid}` };
    const worker = await loaded({}, {}, { env, marker, killGraceMs: 200 });
    const pids = await Promise.all([{}, { detached: true }].map((how) => new Call().run(worker, { do: "grandchild", ...how })));
    const stay = pids.map((end) => (end.kind === "result" ? Number(end.value) : 0));
    expect(stay.map(running)).toEqual([true, true]);
    await new Call().run(worker, { do: "die", code: 0 });
    expect(stay.map(running)).toEqual([false, false]);
  });

  it("follows when it closes its stdout, for nothing can be heard of it", async () => {
    const worker = await loaded({ ignoreEof: true });
    const end = await new Call().run(worker, { do: "closeStdout" });
    expect(end).toMatchObject({ kind: "lost", report: { weKilled: true }, problem: "It closed its stdout." });
  });

  it("follows when it closes its stdin, and the server does not fall over it", async () => {
    const code = `const fs = require("node:fs");
      fs.readSync(0, Buffer.alloc(10_000));
      fs.closeSync(0);
      console.log('{"jsonrpc":"2.0","id":0,"result":{}}');
      setInterval(() => {}, 1000);`;
    const worker = await loaded({}, {}, { argv: [process.execPath, "-e", code] });
    const end = await new Call().run(worker, { do: "echo", value: 1 });
    expect(end).toMatchObject({ kind: "lost", report: { weKilled: true }, problem: "It closed its stdin." });
  });

  it("is reached by kill also when it does not read what it is asked", async () => {
    const worker = await loaded({ ignoreEof: true });
    void new Call().run(worker, { do: "deaf" });
    const calls = [1, 2, 3, 4].map(() => new Call().run(worker, { do: "echo", value: "x".repeat(1_000_000) }));
    await worker.kill();
    expect((await Promise.all(calls)).map((c) => c.kind)).toEqual(["lost", "lost", "lost", "lost"]);
  });
});

describe("asking a worker", () => {
  it("to exit lets it end by itself", async () => {
    const worker = await loaded({ exitCode: 4 });
    const reports = await Promise.all([worker.shutdown(), worker.shutdown()]);
    expect(reports).toEqual(Array(2).fill({ code: 4, weKilled: false, left: 0 }));
  });

  it("to exit ends one that does not, after its time", async () => {
    const worker = await loaded({ shutdown: "hangs" }, { shutdownMs: 50 });
    expect(await worker.shutdown()).toMatchObject({ signal: "SIGTERM", weKilled: true });
  });

  it.each<[FakeOptions, boolean]>([
    [{ canRelease: true }, true],
    [{ canRelease: true, release: "fails" }, false],
    [{ canRelease: true, release: "hangs" }, false],
  ])("to release (%j) tells whether it did: %s", async (fake, released) => {
    const worker = await loaded(fake);
    expect(await worker.release(released ? 10_000 : 200)).toBe(released);
    expect(await new Call().run(worker, { do: "echo", value: 1 })).toMatchObject({ kind: "result" });
  });
});

describe("starting a worker", () => {
  it("says in plain words why it did not", async () => {
    const started = await WorkerProcess.start({ name: "x", argv: ["no-such-program-here"], cwd: "/", env: {}, killGraceMs: 1 });
    expect(started).toEqual({ ok: false, message: expect.stringContaining("was not found") });
  });

  it("tells the register before the first message, and again when nothing is left", async () => {
    const told: string[] = [];
    const register: ProcessRegister = {
      started: (pid, marker) => told.push(`started ${pid} ${marker}`),
      ended: (pid) => told.push(`ended ${pid} ${running(pid)}`),
      close: () => Promise.resolve(),
    };
    const worker = await started({}, { register }, { env: { A: "1" }, marker: "A=1" });
    expect(told).toEqual([`started ${worker.pid} A=1`]);
    await worker.initialize(params, {
      stallMs: 10_000,
      signal: new AbortController().signal,
      onLog: () => {},
      onProgress: () => {},
    });
    await worker.shutdown();
    expect(told).toEqual([`started ${worker.pid} A=1`, `ended ${worker.pid} false`]);
  });
});
