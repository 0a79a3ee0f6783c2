import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WorkloadSchema } from "#gen/sluice/v1/types_pb.js";
import { workloadFromProto } from "../../src/api/convert-workload.ts";
import { Failure, type FieldViolation } from "../../src/engine/failure.ts";
import {
  defaultTenant,
  maxDurationMs,
  maxGpus,
  maxMib,
  maxNameBytes,
  maxPriority,
  maxTenantBytes,
  unnamed,
} from "../../src/engine/request-limits.ts";
import type { ReplayJob } from "../../src/replay/job.ts";
import { readJobList } from "../../src/replay/job-list.ts";
import { linesOf } from "../../src/replay/lines.ts";
import { readWork } from "../../src/replay/read-work.ts";

const header = "id,arrive_s,duration_s,gpus,vram_mib_per_gpu,host_ram_mib";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-jobs-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function read(text: string): readonly ReplayJob[] {
  const path = join(folder, "jobs.csv");
  writeFileSync(path, text);
  const work = readWork(path);
  if (work.kind !== "list") throw new Error("taken for a record");
  return work.jobs;
}

function wrong(text: string): readonly string[] {
  try {
    read(text);
  } catch (error) {
    if (error instanceof Failure) return error.message.replaceAll(`${join(folder, "jobs.csv")}: `, "").split("\n");
    throw error;
  }
  throw new Error("expected a failure, and it was read");
}

describe("a list of jobs", () => {
  it("is read column by column, whatever their order, with the duration known beforehand", () => {
    const jobs = read(
      "qos,host_ram_mib,vram_mib_per_gpu,gpus,duration_s,arrive_s,id\nLS,4096,6000,2,12.5,0.25,a\nBE,100,0,0,1,3,b\n",
    );
    expect(jobs).toEqual([
      {
        id: "a",
        name: unnamed,
        arriveMs: 250,
        durationMs: 12_500,
        requirements: { gpuCount: 2, vramMb: 6_000, ramMb: 4_096, gpuUuids: [], exclusive: false },
        tenant: defaultTenant,
        priority: 0,
        expectedDurationMs: 12_500,
      },
      {
        id: "b",
        name: unnamed,
        arriveMs: 3_000,
        durationMs: 1_000,
        requirements: { gpuCount: 0, vramMb: 0, ramMb: 100, gpuUuids: [], exclusive: false },
        tenant: defaultTenant,
        priority: 0,
        expectedDurationMs: 1_000,
      },
    ]);
  });

  it("may name tenant, priority, name, expected duration and timeout of each job; what is empty is not said", () => {
    const [a, b] = read(
      `${header},tenant,priority,name,expected_s,timeout_s\na,0,5,1,1,1,"team, blue",-7,"a ""b""",60,1.5\nb,0,5,1,1,1,,,,,0\n`,
    );
    expect(a).toMatchObject({
      tenant: "team, blue",
      priority: -7,
      name: 'a "b"',
      expectedDurationMs: 60_000,
      timeoutMs: 1_500,
    });
    expect(b).toMatchObject({ tenant: defaultTenant, priority: 0, name: unnamed });
    expect(b).not.toHaveProperty("expectedDurationMs");
    expect(b).not.toHaveProperty("timeoutMs");
  });

  it("may have a byte order mark, Windows line breaks, spaces after commas, empty lines, and no line break at its end", () => {
    const jobs = read(`\ufeff${header}\r\n\r\na, 1e-3, 5, 1, 100, 0\r\n\r\nb,1,5,1,100,0`);
    expect(jobs.map((j) => [j.id, j.arriveMs])).toEqual([
      ["a", 1],
      ["b", 1_000],
    ]);
  });

  it("is put in order of arrival; those of one moment keep their order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 40 }), (arrivals) => {
        const jobs = [...readJobList(linesFrom([header, ...arrivals.map((at, i) => `${i},${at},1,1,1,1`)]), "list")];
        const want = arrivals.map((at, i) => ({ at, i })).sort((x, y) => x.at - y.at || x.i - y.i);
        expect(jobs.map((j) => j.id)).toEqual(want.map((w) => String(w.i)));
      }),
    );
  });

  it("whose lines are longer than what is read at a time is read whole", () => {
    const count = 60_000;
    const rows = Array.from({ length: count }, (_, i) => `job-é-${i},${i},1,1,1,1`);
    const jobs = read([header, ...rows].join("\n"));
    expect(jobs).toHaveLength(count);
    expect(jobs.every((job, i) => job.id === `job-é-${i}`)).toBe(true);
  });
});

describe("what is wrong with a list", () => {
  it("is told by line, column, value and limit, all of it at once", () => {
    expect(wrong(`${header}\na,-1,0,65,2.5,16777217\nb,0,1,0,100,0\n`)).toEqual([
      'line 2, duration_s: "0" is not allowed; it must be a number of seconds from 0.001 to 31622400',
      'line 2, gpus: "65" is not allowed; it must be a whole number from 0 to 64',
      'line 2, vram_mib_per_gpu: "2.5" is not allowed; it must be a whole number from 0 to 16777216',
      'line 2, arrive_s: "-1" is not allowed; it must be a number of seconds from 0 to 31622400',
      'line 2, host_ram_mib: "16777217" is not allowed; it must be a whole number from 0 to 16777216',
      'line 3, vram_mib_per_gpu: "100" is not allowed; it must be 0 when gpus is 0',
    ]);
  });

  it.each([
    ["nothing", "", /^is empty; its first line must name the columns id,arrive_s/],
    ["an unknown column", `${header},colour\n`, /^line 1: "colour" is not a column of a job list/],
    ["a missing column", "id,arrive_s,duration_s,gpus,vram_mib_per_gpu\n", /^line 1: the column host_ram_mib is missing/],
    ["a column twice", `${header},gpus\n`, /^line 1: the column "gpus" is there twice/],
    ["a value too few", `${header}\na,1,2,3,4\n`, /^line 2 has 5 values, and the header names 6 columns/],
    ["an id twice", `${header}\na,1,2,1,4,5\nb,1,2,1,4,5\na,1,2,1,4,5\n`, /^line 4, id: "a" is the id of line 2 already/],
    ["no id", `${header}\n,1,2,1,4,5\n`, /^line 2, id: "" is not allowed; it must be 1 to 128 bytes/],
    ["an open quotation mark", `${header}\n"a,1,2,1,4,5\n`, /^line 2: a quotation mark is not closed/],
    ["words for numbers", `${header}\na,soon,2,1,4,5\n`, /^line 2, arrive_s: "soon" is not allowed/],
    ["a control character", `${header}\na\u001bb,1,2,1,4,5\n`, /^line 2, id: "a\\u001bb" is not allowed/],
  ])("%s", (_, text, words) => {
    expect(wrong(text)[0]).toMatch(words);
  });

  it("is told ten times at most", () => {
    const told = wrong(`${header}\n${"a,x,1,1,1,1\n".repeat(1_000)}`);
    expect(told.length).toBeLessThanOrEqual(13);
    expect(told.at(-1)).toBe("there may be more; nothing after this was read");
  });

  it("a file that cannot be read, and a folder, are told with their path", () => {
    expect(() => readWork(join(folder, "none.csv"))).toThrow(/none\.csv: cannot be read: ENOENT/);
    expect(() => readWork(folder)).toThrow(/: cannot be read: EISDIR/);
  });

  it("a file without line breaks is not read into memory", () => {
    const path = join(folder, "long.csv");
    writeFileSync(path, "x".repeat(5_000_000));
    expect(() => [...linesOf(path)]).toThrow(/line 1 is longer than/);
  });
});

/** A list and a request that mean the same must have the same limits, by whichever ways they are read. */
describe("the limits of a list are those of a request", () => {
  const request = (more: object) => {
    const violations: FieldViolation[] = [];
    workloadFromProto(create(WorkloadSchema, { resources: { requiresGpu: true }, ...more }), "workload", violations);
    return violations.length === 0;
  };
  const list = (column: string, value: string) => {
    const row: Record<string, string> = {
      id: "a",
      arrive_s: "0",
      duration_s: "1",
      gpus: "1",
      vram_mib_per_gpu: "1",
      host_ram_mib: "1",
    };
    row[column] = value;
    const text = `${Object.keys(row).join(",")}\n${Object.values(row).join(",")}\n`;
    try {
      read(text);
      return true;
    } catch {
      return false;
    }
  };
  const gpu = (more: object) => ({ resources: { requiresGpu: true, ...more } });
  const cases: readonly [string, number, (value: number) => object][] = [
    ["gpus", maxGpus, (gpuCount) => gpu({ gpuCount })],
    ["vram_mib_per_gpu", maxMib, (minGpuVramMb) => gpu({ minGpuVramMb })],
    ["host_ram_mib", maxMib, (minSystemRamMb) => gpu({ minSystemRamMb })],
    ["priority", maxPriority, (priority) => ({ priority })],
  ];
  it.each(cases)("%s", (column, max, asked) => {
    for (const value of [max, max + 1]) expect(list(column, String(value))).toBe(request(asked(value)));
    expect(list(column, String(max))).toBe(true);
  });

  it("tenant and name", () => {
    for (const [column, max] of [
      ["tenant", maxTenantBytes],
      ["name", maxNameBytes],
    ] as const) {
      for (const length of [max, max + 1]) {
        expect(list(column, "x".repeat(length))).toBe(request({ [column]: "x".repeat(length) }));
      }
      expect(list(column, "x".repeat(max))).toBe(true);
    }
    expect(workloadFromProto(create(WorkloadSchema, { resources: {} }), "w", [])).toMatchObject({
      name: unnamed,
      tenant: defaultTenant,
    });
  });

  it("expected duration", () => {
    const longest = maxDurationMs / 1_000;
    for (const [seconds, isAllowed] of [
      [longest, true],
      [longest + 1, false],
    ] as const) {
      expect(list("expected_s", String(seconds))).toBe(isAllowed);
      expect(request({ expectedDuration: { seconds: BigInt(seconds) } })).toBe(isAllowed);
    }
  });
});

function* linesFrom(texts: readonly string[]) {
  for (const [i, text] of texts.entries()) yield { number: i + 1, text };
}
