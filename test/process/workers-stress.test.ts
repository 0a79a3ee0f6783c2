import { expect, it } from "vitest";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { runs, WorkerSite } from "./support/worker-site.ts";

const gpus = [
  { uuid: "GPU-00000000-0000-4000-8000-000000000000", totalMb: 24_576 },
  { uuid: "GPU-00000000-0000-4000-8000-000000000001", totalMb: 24_576 },
];
/** Of both: what the driver keeps and the margin taken off. */
const capacityMb = 2 * 23_738;
/** Together twice what there is, so that some have to go all the time. */
const sizes = [4_000, 6_000, 8_000, 10_000, 12_000, 14_000, 16_000, 20_000];
const executions = 1_000;
const clients = 16;
/** A client stays with one plugin for so many, as users do. */
const burst = 5;

it("a thousand executions over eight workers of which half fit: none is lost, none runs out of memory, nothing is left over", async () => {
  expect(sizes.reduce((a, b) => a + b)).toBeGreaterThan(1.8 * capacityMb);
  await using site = new WorkerSite(gpus);
  for (const [i, mib] of sizes.entries()) site.gpuWorker(`model-${i}`, mib, { answerMs: 5, maxConcurrency: 2 });
  const server = await site.serve(["--timeout", "50"]);

  let next = 0;
  const answers: unknown[] = [];
  const client = async () => {
    const executor = server.connect().client(ExecutorService);
    while (next < executions) {
      const from = next;
      next += burst;
      // A stride that has nothing in common with eight visits all of them in an order that suits nobody.
      const plugin = `model-${((from / burst) * 5) % sizes.length}`;
      for (let n = from; n < Math.min(from + burst, executions); n++) {
        const answer = executor.executePlugin({ plugin, arguments: { n, plugin } }, { timeoutMs: 55_000 });
        answers[n] = await answer.then(
          ({ result }) => (result?.kind.case === "structValue" ? result.kind.value.fields.got?.kind.value : result),
          (error: unknown) => String(error),
        );
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, client));

  const got = answers.map(
    (answer) => (answer as { fields?: { n?: { kind: { value: unknown } } } }).fields?.n?.kind.value ?? answer,
  );
  expect(got).toEqual(Array.from({ length: executions }, (_, n) => n));
  expect(site.fake.oomLog()).toEqual([]);

  const evictions = server.log().filter((line) => line.decision === "evict");
  expect(evictions.length).toBeGreaterThan(10);

  expect(await server.stop()).toBe(0);
  const notes = site.notes();
  const workers = notes.filter(({ event }) => event === "start");
  expect(workers.length).toBeGreaterThan(sizes.length);
  expect(notes.filter(({ underWay }) => underWay > 0)).toEqual([]);
  // Each was asked to go, and went.
  const asked = notes.filter(({ event }) => event === "shutdown");
  expect(asked.map(({ pid }) => pid).sort()).toEqual(workers.map(({ pid }) => pid).sort());
  expect(workers.filter(({ pid, start }) => runs(pid, Number(start)))).toEqual([]);
});
