import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type JobListEntry, type ListResult, readLists, replayList, ways } from "../../bench/lib/one-node-lists.mjs";
import { targetsOf } from "../../bench/lib/one-node-targets.mjs";
import { machineFor } from "../../src/cli/replay-machine.ts";
import { readWork } from "../../src/replay/read-work.ts";
import { replay } from "../../src/replay/world.ts";

// Real arrivals and sizes with results of reference schedulers. They are no part of the project: SLUICE_TRACES names their folder.
const folder = process.env.SLUICE_TRACES ?? "";
const present = folder !== "" && existsSync(join(folder, "manifest.json"));
if (!present) {
  const why = folder === "" ? "set SLUICE_TRACES to their folder" : `SLUICE_TRACES=${folder} has no manifest.json`;
  // biome-ignore lint/suspicious/noConsole: a skip must be seen
  console.warn(`SKIPPED: waits on the job lists of one node were not compared; ${why}`);
}

describe.skipIf(!present)("on the job lists of one node", () => {
  const lists = present ? readLists(folder) : [];
  // Guards the waits of the default discipline: a change that makes some lists better and others worse shows here.
  it("no work is lost, and it waits no longer than the reference and the targets allow", { timeout: 300_000 }, () => {
    expect(lists.length).toBeGreaterThan(0);
    const runs = ways.map((way) => lists.map((list) => replayList({ machineFor, readWork, replay }, folder, list, way)));
    const missed = targetsOf(lists, runs).filter((t) => !t.passed);
    expect(missed.map((t) => `${t.target} (${t.detail})`)).toEqual([]);
  });
});

describe("the targets", () => {
  const numbers = { waitMean: 10, waitMax: 100, makespan: 1.01 };
  const list = (cell: string): JobListEntry => ({
    file: `${cell}.csv`,
    cell,
    jobs: 5,
    makespanBound: 1,
    machine: { gpus: 1, vram: 1, ram: 1 },
    easy: numbers,
    sjf: numbers,
  });
  const lists = ["a", "a", "b"].map(list);
  const good: ListResult = { ...numbers, jobs: 5, done: 5, oom: 0, decisionsPerS: 1 };
  const missed = (said: Partial<ListResult>, unsaid: Partial<ListResult> = {}): readonly string[] => {
    const run = (worse: Partial<ListResult>) => [{ ...good, ...worse }, good, good];
    return targetsOf(lists, [run(said), run(unsaid)]).flatMap((t) =>
      t.passed ? [] : [t.target.replace(/ on the mean.*/, "")],
    );
  };

  it("hold when everything is as good as the reference", () => expect(missed({})).toEqual([]));

  it("are missed by one failed allocation and by one piece of lost work", () => {
    expect(missed({ oom: 1 })).toEqual(["no allocation fails (oom 0), in any discipline"]);
    expect(missed({}, { done: 4 })).toEqual(["all work is done, in any discipline"]);
  });

  it("are missed by waits that are longer on the mean of a cell, by more where durations are not known", () => {
    expect(missed({ waitMean: 10.02 })).toEqual([
      "durations: mean wait ≤ easy on 90 % of the lists",
      "durations: mean wait ≤ easy",
    ]);
    expect(missed({ waitMax: 119 }, { waitMean: 10.9, waitMax: 159 })).toEqual([]);
    expect(missed({ waitMax: 121 })).toEqual(["durations: longest wait ≤ 1.1 × easy"]);
    expect(missed({}, { waitMean: 11.1 })).toEqual(["no durations: mean wait ≤ 1.05 × easy"]);
    expect(missed({}, { waitMax: 161 })).toEqual(["no durations: longest wait ≤ 1.3 × easy"]);
  });

  it("are missed by a longer makespan than the bound allows", () => {
    expect(missed({ makespan: 1.04 })).toEqual(["durations: makespan ≤ 1.02 × bound"]);
    expect(missed({ makespan: 1.025 })).toEqual([]);
  });
});
