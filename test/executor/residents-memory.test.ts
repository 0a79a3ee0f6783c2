import { afterEach, describe, expect, it } from "vitest";
import { waitFor } from "../wait-for.ts";
import { type HouseOptions, house, never, node, request, running } from "./house.ts";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
});

const outOfMemory = (resource: string) =>
  `send({ id, error: { code: -32001, message: "no room", data: { resource: "${resource}", needed_mb: 900 } } })`;

/** A worker that knows the number of its start (the token of its lease), and does this when it loads and when it is asked. */
function worker(how: { readonly load?: string; readonly run?: string }, options: HouseOptions = {}, more: object = {}) {
  const made = house({ killGraceMs: 500, ...options });
  const code = `let start = 0;
    const send = (m) => console.log(JSON.stringify({ jsonrpc: "2.0", ...m }));
    const ok = (id, result) => send({ id, result });
    const load = (id) => { ${how.load ?? "ok(id, {})"} };
    const run = (id, args) => { ${how.run ?? "ok(id, start)"} };
    require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
      const { id, method, params } = JSON.parse(line);
      if (method === "initialize") { start = params.lease.token; load(id); }
      if (method === "execute") run(id, params.arguments);
      if (method === "shutdown") { ok(id, null); process.exit(0); }
    }).on("close", () => process.exit(0));`;
  const resources = { min_system_ram_mb: 100 };
  made.plugin("m", [node, "-e", code], { mode: "worker", resources, ...more });
  ends.push(() => made.executor.shutdown(0));
  const start = (args: object = {}) => made.executor.start(request("m", { arguments: { ...args } }));
  const ask = (args: object = {}) => made.executor.outcome(start(args), never);
  /** Host memory that each start asked for, in MiB. */
  const asked = () => made.admission.requests.map((r) => r.requirements.ramMb);
  return { ...made, start, ask, asked };
}

describe("an execution that runs out of memory", () => {
  it("is run again on a new worker with as much as it said, and that is its result", async () => {
    const w = worker({ run: `start === 1 ? ${outOfMemory("ram")} : ok(id, start)` });
    expect(await w.ask()).toEqual({ ok: true, result: 2 });
    expect(w.asked()).toEqual([100, 900]);
    expect(running(w.admission.attached[0] as number)).toBe(false);
    expect([w.admission.held, w.errors]).toEqual([1, []]);
  });

  it("of the GPU is run again with as much GPU memory as it said", async () => {
    const resources = { requires_gpu: true, min_gpu_vram_mb: 200 };
    const w = worker({ run: `start === 1 ? ${outOfMemory("gpu")} : ok(id, start)` }, {}, { resources });
    expect(await w.ask()).toEqual({ ok: true, result: 2 });
    expect(w.admission.requests.map((r) => r.requirements.vramMb)).toEqual([200, 900]);
  });

  it("twice is told, and never run a third time", async () => {
    const w = worker({ run: outOfMemory("ram") });
    expect(await w.ask()).toMatchObject({ failure: { code: "OUT_OF_MEMORY", attempts: 2 } });
    expect(w.asked()).toEqual([100, 900]);
    await waitFor(() => w.admission.held === 0, "the lease was given back");
  });

  it("lets another on the same worker finish before that is ended", async () => {
    const run = `if (args.slow) { setTimeout(() => ok(id, start), 300); } else if (start === 1) { ${outOfMemory("ram")} } else ok(id, start)`;
    const w = worker({ run }, {}, { max_concurrency: 2 });
    const slow = w.start({ slow: true });
    await waitFor(() => slow.view().pid !== 0 && w.residents.view("m")?.executions === 1, "it runs");
    expect(await w.ask()).toEqual({ ok: true, result: 2 });
    expect((await slow.done).outcome).toEqual({ ok: true, result: 1 });
  });
});

describe("a load that runs out of memory", () => {
  it("is tried again with more, and the execution never hears of it", async () => {
    const w = worker({ load: `start === 1 ? ${outOfMemory("ram")} : ok(id, {})` });
    expect(await w.ask()).toEqual({ ok: true, result: 2 });
    expect(w.asked()).toEqual([100, 900]);
    expect(w.admission.held).toBe(1);
  });

  it("twice is told", async () => {
    const w = worker({ load: outOfMemory("ram") });
    expect(await w.ask()).toMatchObject({ failure: { code: "OUT_OF_MEMORY", attempts: 2 } });
    expect(w.asked()).toEqual([100, 900]);
    expect(w.admission.held).toBe(0);
  });

  it("was a try, so an execution that runs out after it is not run a third time", async () => {
    const w = worker({ load: `start === 1 ? ${outOfMemory("ram")} : ok(id, {})`, run: outOfMemory("ram") });
    expect(await w.ask()).toMatchObject({ failure: { code: "OUT_OF_MEMORY", attempts: 2 } });
    expect(w.asked()).toEqual([100, 900]);
  });
});

describe("a worker that is killed by a signal", () => {
  const run = `start === 1 ? process.kill(process.pid, "SIGKILL") : ok(id, start)`;

  it("was out of memory when the kernel has counted it", async () => {
    let asks = 0;
    const oomKills = async () => {
      asks += 1;
      // Asked before the load, before the run, and when it had ended.
      return asks < 3 ? 4 : 5;
    };
    const w = worker({ run }, { residentSite: { oomKills } });
    w.admission.measured = { ramMb: 400 };
    expect(await w.ask()).toEqual({ ok: true, result: 2 });
    expect(w.asked()).toEqual([100, 500]);
  });

  it("is lost when the kernel has not, and the execution is not run again", async () => {
    const w = worker({ run }, { residentSite: { oomKills: async () => 4 } });
    expect(await w.ask()).toMatchObject({ failure: { code: "WORKER_LOST", signal: "SIGKILL", attempts: 1 } });
    expect(w.asked()).toEqual([100]);
  });
});

it("what was measured while it ran is what its next start asks for", async () => {
  const w = worker({ run: "setTimeout(() => ok(id, start), 200)" });
  const execution = w.start();
  await waitFor(() => w.residents.view("m")?.state === "in-use", "it runs");
  w.admission.measure({ ramMb: 700 });
  await execution.done;
  await w.executor.unload("m");
  await w.ask();
  expect(w.asked()).toEqual([100, 700]);
});
