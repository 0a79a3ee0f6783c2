import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, it } from "vitest";
import { waitFor } from "../wait-for.ts";
import { all, house, node, request, running } from "./house.ts";

/** A small generator, so that a failing run can be had again by its seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

/** Every process that a plugin starts leaves a file with its pid. */
const behaviours = [
  "console.log(JSON.stringify({ ok: true }))",
  "process.exitCode = 3",
  'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)',
  "setTimeout(() => console.log('done'), 30)",
  'require("node:child_process").spawn(process.execPath, ["-e", note + "; setInterval(() => {}, 1000)", folder], { stdio: "inherit" })',
  'require("node:child_process").spawn(process.execPath, ["-e", note + "; setInterval(() => {}, 1000)", folder], { detached: true, stdio: "ignore" }).unref()',
  "for (let i = 0; i < 2000; i += 1) console.log('line ' + i)",
];

it("gives every lease back exactly once and leaves no process over, whatever is cancelled when", async () => {
  const seed = Date.now() % 1_000_000;
  const next = random(seed);
  const folder = mkdtempSync(join(tmpdir(), "sluice-random-"));
  const { admission, executor, plugin, errors } = house({ killGraceMs: 100 });
  const note = "require('node:fs').writeFileSync(process.argv[1] + '/' + process.pid, '')";
  for (const [i, code] of behaviours.entries()) {
    const whole = `const folder = process.argv[1]; const note = ${JSON.stringify(note)}; eval(note); ${code}`;
    plugin(`p${i}`, [node, "-e", whole, "{folder}"], { max_concurrency: 1 + (i % 3) });
  }
  plugin("missing", ["no-such-program-here", "{folder}"]);
  const ways: Promise<unknown>[] = [];
  const interventions: Promise<void>[] = [];
  try {
    for (let n = 0; n < 100; n += 1) {
      const name = next() < 0.1 ? "missing" : `p${Math.floor(next() * behaviours.length)}`;
      admission.mode = next() < 0.3 ? "wait" : "grant";
      const cut = new AbortController();
      const execution = executor.start(request(name, { arguments: { folder }, timeoutMs: next() < 0.1 ? 50 : undefined }));
      const way = next();
      // Those that run for ever are always ended; the others now and then.
      const delay = next() * 400;
      if (way < 0.3) ways.push(all(executor.watch(execution, cut.signal)).catch(() => {}));
      else if (way < 0.6) ways.push(executor.outcome(execution, cut.signal).catch(() => {}));
      const intervene = () => {
        if (next() < 0.4) cut.abort();
        else if (next() < 0.5 || /^p[24]$/.test(name)) void executor.cancel(execution.identity.id);
        else if (admission.waiting.length > 0) admission.grantNext();
      };
      interventions.push(pause(delay).then(intervene));
      ways.push(execution.done);
      if (n % 10 === 9) await pause(50);
    }
    await Promise.all(interventions);
    await waitFor(() => admission.released.size > 10, "some of them to be over before the end");
    await executor.shutdown(200);
    await Promise.all(ways);

    expect(admission.released.size, `seed ${seed}`).toBeGreaterThan(10);
    expect(
      [...admission.released.values()].filter((times) => times !== 1),
      `seed ${seed}`,
    ).toEqual([]);
    expect(
      [...admission.executions.values()].filter((finished) => !finished),
      `seed ${seed}`,
    ).toEqual([]);
    expect(admission.waiting, `seed ${seed}`).toEqual([]);
    expect(executor.list("", 2_000).filter((e) => e.state === "queued" || e.state === "running")).toEqual([]);
    expect(errors, `seed ${seed}`).toEqual([]);
    const pids = [...admission.attached, ...readdirSync(folder).map(Number)];
    expect(pids.length).toBeGreaterThan(10);
    expect(pids.filter(running), `seed ${seed}`).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
