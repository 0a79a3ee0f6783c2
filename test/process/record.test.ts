import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { waitFor } from "../wait-for.ts";
import { gpuWork } from "./support/scheduler.ts";
import { type Server, startServer, startSluice } from "./support/server.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-record-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(server: Server, vram: number, command: readonly string[]) {
  return startSluice(["run", "--address", server.grpc, "--vram", `${vram}`, "--timeout", "30", "--", ...command]);
}

const linesOf = (path: string) =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

it("what a server records can be replayed: its jobs, its machine, and what was left out", async () => {
  const path = join(folder, "day.jsonl");
  {
    await using server = await startServer(["--simulate", "1x8000", "--record", path, "--sample-period", "200"]);
    const jobs = [3_000, 6_000, 3_000].map((vram) => run(server, vram, ["sleep", "0.5"]));
    expect(await Promise.all(jobs.map((job) => job.end))).toEqual([0, 0, 0]);
    const scheduler = server.client(SchedulerService);
    const { outcome } = await scheduler.allocate({ workload: gpuWork(1_000), policy: "safety" });
    expect(outcome.case).toBe("lease");
    // Written while the server runs, not only when it stops.
    await waitFor(() => linesOf(path).filter((line) => line.type === "grant").length === 4, "the fourth grant in the record");
    expect(await server.stop()).toBe(0);
  }
  expect(statSync(path).mode & 0o777).toBe(0o600);

  const replay = startSluice(["replay", path, "--json"]);
  expect(await replay.end, replay.err()).toBe(0);
  expect(JSON.parse(replay.out())).toMatchObject({ jobs: 3, done: 3, refused: 0, timed_out: 0, oom: 0 });
  expect(replay.err()).toContain("1 lease had not ended when the record or its server did; its job is left out");

  // Another server goes on with the same record.
  {
    await using server = await startServer(["--simulate", "1x8000", "--record", path]);
    expect(await run(server, 500, ["true"]).end).toBe(0);
  }
  const again = startSluice(["replay", path, "--compare", "--json"]);
  expect(await again.end, again.err()).toBe(0);
  const results = again
    .out()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(results.map((r) => [r.discipline, r.jobs, r.done])).toEqual([
    ["strict-fifo", 4, 4],
    ["best-effort", 4, 4],
    ["backfill", 4, 4],
    ["backfill", 4, 4],
  ]);
});

it("a server that is killed leaves what it has decided so far", async () => {
  const path = join(folder, "killed.jsonl");
  await using server = await startServer(["--simulate", "1x8000", "--record", path]);
  expect(await run(server, 500, ["true"]).end).toBe(0);
  await waitFor(() => linesOf(path).some((line) => line.type === "end"), "the end of the job in the record");
  server.kill("SIGKILL");
  await server.process.end;
  const replay = startSluice(["replay", path, "--json"]);
  expect(await replay.end, replay.err()).toBe(0);
  expect(JSON.parse(replay.out())).toMatchObject({ jobs: 1, done: 1 });
});

it("a record that cannot be opened keeps the server from starting, and says why", async () => {
  const server = startSluice([
    "serve",
    "--grpc",
    "127.0.0.1:0",
    "--web",
    "off",
    "--simulate",
    "8000",
    "--record",
    join(folder, "no", "x"),
  ]);
  expect(await server.end).toBe(2);
  expect(server.err()).toMatch(/^sluice: --record: .*cannot be recorded to: ENOENT/m);
});
