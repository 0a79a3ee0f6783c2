import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { explainError } from "../../src/cli/explain-error.ts";
import { type Replay, registerReplay } from "../../src/cli/replay.ts";
import type { ReplayOptions, ReplayResult, Workbook } from "../../src/replay/job.ts";
import { expectGolden } from "../golden/golden.ts";
import { type Outcome, sluice } from "./run-in-process.ts";

let folder: string;
let list: string;
let record: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-replay-"));
  list = join(folder, "jobs.csv");
  writeFileSync(list, "id,arrive_s,duration_s,gpus,vram_mib_per_gpu,host_ram_mib\na,0,10,1,800,0\nb,0,10,1,800,0\n");
  record = join(folder, "record.jsonl");
  writeFileSync(record, `${recordLines.map((line) => JSON.stringify(line)).join("\n")}\n`);
});
afterAll(() => rmSync(folder, { recursive: true }));

const recordLines = [
  { sluice_record: 1 },
  { type: "start", at: 900 },
  {
    type: "machine",
    at: 1_000,
    gpus: [
      { index: 0, uuid: "GPU-a", total_mb: 24_000, reserved_mb: 300, margin_mb: 480 },
      { index: 3, uuid: "GPU-b", total_mb: 8_000, reserved_mb: 200, margin_mb: 256 },
    ],
    ram_mb: 64_000,
    ram_margin_mb: 1_280,
  },
  { type: "foreign", at: 1_500, gpu: 3, used_mb: 3_000 },
  {
    type: "request",
    at: 2_000,
    id: "ticket-a",
    mode: "wait",
    timeout_ms: 300_000,
    policy: "",
    name: "n",
    tenant: "t",
    priority: 0,
    gpus: 1,
    vram_mb: 900,
    ram_mb: 0,
  },
  { type: "grant", at: 2_000, request: "ticket-a", lease: "lease-a", policy: "queue", on: [0] },
  { type: "end", at: 5_000, lease: "lease-a", why: "released", held_ms: 3_000 },
  {
    type: "request",
    at: 6_000,
    id: "lease-b",
    mode: "now",
    policy: "",
    name: "n",
    tenant: "t",
    priority: 0,
    gpus: 0,
    vram_mb: 0,
    ram_mb: 9,
  },
  { type: "grant", at: 6_000, request: "lease-b", lease: "lease-b", policy: "queue", on: [] },
];

const machine = ["--gpus", "1", "--vram", "1000", "--ram", "4096"];
const waits: Record<string, number> = { "strict-fifo": 120, "best-effort": 60, backfill: 45.25 };

let calls: { book: Workbook; options: ReplayOptions }[];
beforeEach(() => {
  calls = [];
});

/** Answers figures that depend on nothing but the discipline. */
const fake: Replay = (book, options): ReplayResult => {
  calls.push({ book, options });
  const wait = (waits[options.discipline] ?? 0) + (options.durations ? 0 : 5);
  return {
    // Not in the order of the contract, and with more than it has.
    ...({ events: 7 } as object),
    decisions_per_s: 123_456.7,
    jobs: book.jobs.length,
    done: book.jobs.length,
    refused: 0,
    timed_out: 0,
    oom: 0,
    wait_mean_s: wait,
    wait_p50_s: wait / 2,
    wait_p99_s: wait * 2,
    wait_max_s: wait * 3,
    slowdown_mean: 1.5,
    makespan_s: 3_600,
    util_pct: 66.666,
  };
};

async function replay(...argv: readonly string[]): Promise<Outcome> {
  let out = "";
  let err = "";
  const io = {
    env: {},
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    errIsTerminal: false,
    columns: () => 80,
    now: () => 0,
  };
  const program = new Command("sluice").exitOverride().configureOutput({ writeOut: io.out, writeErr: io.err });
  registerReplay(program, io, { code: 0 }, fake);
  try {
    await program.parseAsync(["replay", ...argv], { from: "user" });
    return { code: 0, out, err };
  } catch (error) {
    if (error instanceof CommanderError) return { code: 2, out, err };
    const { code, message } = await explainError(error, "");
    return { code, out, err: err + message };
  }
}

const at = (text: string) => text.replaceAll(folder, "FOLDER");

describe("replaying a list of jobs", () => {
  it("prints a small table", async () => {
    const { code, out, err } = await replay(list, ...machine);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expectGolden("replay.txt", out);
  });

  it("--json prints one object with exactly the fields of the contract, in its order", async () => {
    const { code, out } = await replay(list, ...machine, "--json");
    expect(code).toBe(0);
    expect(Object.keys(JSON.parse(out))).toEqual([
      "jobs",
      "done",
      "refused",
      "timed_out",
      "oom",
      "wait_mean_s",
      "wait_p50_s",
      "wait_p99_s",
      "wait_max_s",
      "slowdown_mean",
      "makespan_s",
      "util_pct",
      "decisions_per_s",
    ]);
  });

  it("goes by queue and backfill with durations unless it is told otherwise, and may promise all of --vram", async () => {
    await replay(list, ...machine);
    expect(calls).toEqual([
      {
        book: {
          machine: { gpus: [{ totalMb: 1_000, reservedMb: 0 }], ramMb: 4_096, foreign: [] },
          jobs: expect.objectContaining({ length: 2 }),
          remarks: [],
        },
        options: { policy: "queue", discipline: "backfill", durations: true, marginMb: 0 },
      },
    ]);
  });

  it("hands every flag on", async () => {
    const flags = [
      "--policy",
      "safety",
      "--discipline",
      "strict-fifo",
      "--no-durations",
      "--margin",
      "50",
      "--max-overtakes",
      "3",
    ];
    await replay(list, "--gpus", "2", "--vram", "500", "--ram", "7", ...flags);
    expect(calls[0]?.options).toEqual({
      policy: "safety",
      discipline: "strict-fifo",
      durations: false,
      marginMb: 50,
      maxOvertakes: 3,
    });
    expect(calls[0]?.book.machine).toEqual({
      gpus: [
        { totalMb: 500, reservedMb: 0 },
        { totalMb: 500, reservedMb: 0 },
      ],
      ramMb: 7,
      foreign: [],
    });
  });

  it("--compare prints a row for each discipline and one without durations; --json an object a line", async () => {
    const { out } = await replay(list, ...machine, "--compare");
    expectGolden("replay-compare.txt", out);
    const { out: lines } = await replay(list, ...machine, "--compare", "--json");
    const objects = lines
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(objects.map((o) => [o.discipline, o.durations, o.wait_mean_s])).toEqual([
      ["strict-fifo", true, 120],
      ["best-effort", true, 60],
      ["backfill", true, 45.25],
      ["backfill", false, 50.25],
    ]);
  });

  it("several files make one table that names them, or one object a line with the file first", async () => {
    const { out } = await replay(list, list, ...machine);
    expect(
      out
        .split("\n")
        .slice(0, 3)
        .map((line) => at(line).split(/ +/)[0]),
    ).toEqual(["FILE", "FOLDER/jobs.csv", "FOLDER/jobs.csv"]);
    const { out: lines } = await replay(list, list, ...machine, "--json");
    const objects = lines
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(objects).toHaveLength(2);
    expect(Object.keys(objects[0]).slice(0, 2)).toEqual(["file", "jobs"]);
  });

  it("needs no GPU memory where there are no GPUs", async () => {
    expect((await replay(list, "--gpus", "0", "--ram", "10")).code).toBe(0);
  });
});

describe("replaying a record", () => {
  it("takes the machine and what others used of it from the record, and says what it left out", async () => {
    const { code, err } = await replay(record);
    expect(code).toBe(0);
    expect(calls[0]?.book.machine.foreign).toEqual([{ atMs: 0, gpuIndex: 1, usedMb: 3_000 }]);
    expect(calls[0]?.book.jobs.map((job) => job.id)).toEqual(["ticket-a"]);
    expect(at(err)).toBe(
      "sluice: FOLDER/record.jsonl: 1 lease had not ended when the record or its server did; its job is left out\n",
    );
  });

  /** What each GPU and the host can promise. */
  const promised = (call = calls.at(-1)) => {
    const margin = call?.options.marginMb ?? 0;
    return {
      gpus: call?.book.machine.gpus.map((g) => g.totalMb - g.reservedMb - margin),
      ram: (call?.book.machine.ramMb ?? 0) - margin,
    };
  };

  /** Guards against jobs that ran yesterday and never fit today: the server's margins differ from GPU to GPU. */
  it("can promise exactly what the server could, on each GPU and of the host", async () => {
    await replay(record);
    expect(promised()).toEqual({ gpus: [24_000 - 300 - 480, 8_000 - 200 - 256], ram: 64_000 - 1_280 });
    await replay(record, "--margin", "100");
    expect(promised()).toEqual({ gpus: [24_000 - 300 - 100, 8_000 - 200 - 100], ram: 64_000 - 100 });
  });

  it("on another machine: what the flags say can be promised, and further GPUs are like the first", async () => {
    await replay(record, "--gpus", "3", "--ram", "1000");
    expect(promised()).toEqual({ gpus: [23_220, 7_544, 23_220], ram: 1_000 });
    await replay(record, "--gpus", "1", "--vram", "48000");
    expect(promised()).toEqual({ gpus: [48_000], ram: 62_720 });
    expect(calls.at(-1)?.book.machine.foreign).toEqual([]);
  });

  it("of a machine without GPUs can be replayed on one that has some, when it is said what they have", async () => {
    const bare = join(folder, "bare.jsonl");
    const lines = recordLines.map((line) => ("ram_mb" in line && line.type === "machine" ? { ...line, gpus: [] } : line));
    writeFileSync(bare, lines.map((line) => JSON.stringify(line)).join("\n"));
    expect(await replay(bare, "--gpus", "1")).toMatchObject({ code: 2, err: expect.stringContaining("say --vram MIB") });
    expect((await replay(bare, "--gpus", "1", "--vram", "500")).code).toBe(0);
    expect(promised()).toEqual({ gpus: [500], ram: 62_720 });
  });
});

describe("what is refused", () => {
  it.each([
    [
      "a list without a machine",
      () => [list],
      /--gpus N, --vram MIB, --ram MIB are missing\. .*only a record knows its machine/,
    ],
    [
      "a list without one of them",
      () => [list, "--gpus", "1", "--vram", "5"],
      /say what the machine has: --ram MIB is missing/,
    ],
    ["too many GPUs", () => [list, "--gpus", "65", "--vram", "1", "--ram", "1"], /--gpus .*whole number from 0 to 64/],
    ["memory with a unit", () => [list, ...machine, "--vram", "1g"], /--vram .*whole number from 0 to 16777216/],
    [
      "an unknown discipline",
      () => [list, ...machine, "--discipline", "lifo"],
      /Allowed choices are strict-fifo, best-effort, backfill/,
    ],
    ["an unknown policy", () => [list, ...machine, "--policy", "./mine.js"], /Allowed choices are permissive, safety, queue/],
    [
      "--compare with one discipline",
      () => [list, ...machine, "--compare", "--discipline", "backfill"],
      /leave out --discipline/,
    ],
    ["a file that is not there", () => [join(folder, "none"), ...machine], /none: cannot be read: ENOENT/],
    ["no file", () => [...machine], /missing required argument/],
  ])("%s, with exit code 2 and a sentence", async (_, argv, words) => {
    const { code, out, err } = await replay(...argv());
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(words);
    expect(calls).toEqual([]);
  });

  it("a list with wrong values is told line by line", async () => {
    const bad = join(folder, "bad.csv");
    writeFileSync(bad, "id,arrive_s,duration_s,gpus,vram_mib_per_gpu,host_ram_mib\na,0,10,1,8e2,0\nb,0,10,,0,0\n");
    const { code, err } = await sluice(["replay", bad, ...machine]);
    expect(code).toBe(2);
    expect(at(err)).toBe(
      'sluice: FOLDER/bad.csv: line 2, vram_mib_per_gpu: "8e2" is not allowed; it must be a whole number from 0 to 16777216\n' +
        'sluice: FOLDER/bad.csv: line 3, gpus: "" is not allowed; it must be a whole number from 0 to 64\n',
    );
  });

  it("a list and a record without a job are told", async () => {
    const empty = join(folder, "empty.csv");
    writeFileSync(empty, "id,arrive_s,duration_s,gpus,vram_mib_per_gpu,host_ram_mib\n");
    expect(await replay(empty, ...machine)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/holds no job that can be replayed$/),
    });
    const quiet = join(folder, "quiet.jsonl");
    writeFileSync(quiet, '{"sluice_record":1}\n{"type":"start","at":1}\n{"type":"ga');
    expect(await replay(quiet)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/no job .*; the record is torn at line 3/),
    });
  });
});

describe("with the engine itself", () => {
  it("two jobs that do not fit together run one after the other", async () => {
    const { code, out } = await sluice(["replay", list, ...machine, "--json"]);
    expect(code).toBe(0);
    const result = JSON.parse(out);
    expect(result).toMatchObject({ jobs: 2, done: 2, refused: 0, timed_out: 0, oom: 0 });
    expect(result.wait_max_s).toBeGreaterThanOrEqual(10);
    expect(result.wait_max_s).toBeLessThan(20);
  });

  it("replay --help prints what test/golden/help-replay.txt says", async () => {
    const { code, out } = await sluice(["replay", "--help"]);
    expect(code).toBe(0);
    expectGolden("help-replay.txt", out);
  });
});
