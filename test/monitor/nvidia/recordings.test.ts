import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseComputeApps } from "../../../src/monitor/nvidia/compute-apps.ts";
import { wordOf } from "../../../src/monitor/nvidia/csv-row.ts";
import {
  type Column,
  coreQuery,
  type GpuRow,
  parseGpuRow,
  parseGpuRows,
  streamQuery,
} from "../../../src/monitor/nvidia/gpu-row.ts";
import { judge } from "../../../src/monitor/nvidia/judgement.ts";
import { LineSplitter } from "../../../src/monitor/nvidia/line-splitter.ts";
import { parseListing } from "../../../src/monitor/nvidia/listing.ts";
import { parseQueryXml } from "../../../src/monitor/nvidia/query-xml.ts";
import { TickCollector } from "../../../src/monitor/nvidia/tick-collector.ts";
import { troubleOf } from "../../../src/monitor/nvidia/trouble.ts";

// Outputs of real drivers, kept outside the repository: an INDEX.tsv with what is known of each, and the files.
const folder = process.env.SLUICE_RECORDINGS ?? join(import.meta.dirname, "../../../../shared/recordings/nvidia-smi");
const present = existsSync(join(folder, "INDEX.tsv"));
if (!present) {
  // biome-ignore lint/suspicious/noConsole: a check that is not made must be seen
  console.warn(`SKIPPED: no recordings of nvidia-smi in ${folder}; set SLUICE_RECORDINGS to check the parsers against them`);
}

interface Recording {
  readonly file: string;
  readonly kind: string;
  readonly gpus: string;
  readonly quirks: string;
  readonly text: string;
}

const recordings: Recording[] = present
  ? readFileSync(join(folder, "INDEX.tsv"), "utf8")
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => {
        const [file = "", kind = "", gpus = "", , , , quirks = ""] = line.split("\t");
        return { file, kind, gpus, quirks, text: readFileSync(join(folder, file), "utf8") };
      })
  : [];

const ofKind = (prefix: string) => recordings.filter((recording) => recording.kind.startsWith(prefix));
const exitOf = ({ quirks }: Recording) => Number(/exit (?:code )?(-?\d+)/.exec(quirks)?.[1] ?? 0);
const mine = new Set<string>([...coreQuery(new Set()), ...streamQuery(new Set())]);

/** The columns of a recording that are ours, and its lines with only those, as if only they had been asked for. */
function project({ text, quirks }: Recording): { columns: Column[]; lines: string[] } {
  const asked = /--query-gpu=([^ ]+)/.exec(quirks)?.[1]?.split(",");
  const lines = text.trimEnd().split("\n");
  const titles = asked ?? (lines[0] as string).split(",").map((title) => title.trim().replace(/ \[.*\]$/, ""));
  const body = (lines[0] as string).startsWith("timestamp,") || lines[0]?.startsWith("index,") ? lines.slice(1) : lines;
  const wanted = titles.flatMap((title, at) => (mine.has(title) ? [{ column: title as Column, at }] : []));
  // The free-text column last, as we ask for it.
  wanted.sort((a, b) => Number(a.column === "name") - Number(b.column === "name"));
  return {
    columns: wanted.map(({ column }) => column),
    lines: body.map((line) => {
      const cells = line.split(", ");
      return wanted.map(({ at }) => cells[at] ?? "").join(", ");
    }),
  };
}

function rowsOf(recording: Recording): GpuRow[] {
  const { columns, lines } = project(recording);
  return lines.map((line) => {
    const row = parseGpuRow(line, columns);
    if (!row) throw new Error(`${recording.file}: not read as a row: ${line}`);
    return row;
  });
}

function expectIdentity(
  memory: { totalMb?: number; reservedMb?: number; usedMb?: number; freeMb?: number },
  file: string,
): void {
  const { totalMb, reservedMb = 0, usedMb, freeMb } = memory;
  if (totalMb === undefined || usedMb === undefined || freeMb === undefined) throw new Error(`${file}: a figure is missing`);
  expect(Math.abs(totalMb - reservedMb - usedMb - freeMb), file).toBeLessThanOrEqual(2);
}

const figure = (quirks: string, name: string) => {
  const match = new RegExp(`${name}=(\\d+) MiB`).exec(quirks);
  return match ? Number(match[1]) : undefined;
};

describe.skipIf(!present)("recordings of real drivers", () => {
  it("are all of a kind that is checked here", () => {
    const known = [
      "xml -q -x",
      "csv query-gpu",
      "csv query-compute-apps",
      "csv loop stream",
      "stream chunks",
      "error text",
      "text -L",
    ];
    expect(recordings.length).toBeGreaterThan(100);
    expect(recordings.filter(({ kind }) => !known.some((prefix) => kind.startsWith(prefix)))).toEqual([]);
  });

  it("no parser throws on any of them", () => {
    for (const { text } of recordings) {
      parseGpuRows(text, coreQuery(new Set()));
      parseListing(text);
      parseQueryXml(text);
      parseComputeApps(text);
      for (const code of [0, 2, 255]) troubleOf({ kind: "ended", end: { code }, text }, "nvidia-smi");
    }
  });

  it("XML: the GPUs, their figures, and the sum of the figures", () => {
    for (const { file, kind, gpus, quirks, text } of ofKind("xml -q -x")) {
      const log = parseQueryXml(text);
      if (kind.includes("truncated")) {
        expect(log, file).toMatchObject({ complete: false, gpus: [] });
        continue;
      }
      expect(log.complete, file).toBe(true);
      // One test file holds fewer GPUs than its source says.
      const counted = (text.match(/<gpu id=/g) ?? []).length;
      expect(log.gpus.length, file).toBe(counted);
      expect(counted, file).toBe(Number(/^(\d+)x/.exec(gpus)?.[1] ?? 1));
      const [totalMb, usedMb, freeMb] = ["total", "used", "free"].map((name) => figure(quirks, name));
      expect(log.gpus[0]?.memory, file).toMatchObject({ totalMb, usedMb, freeMb });
      expect(log.gpus[0]?.memory.reservedMb, file).toBe(figure(quirks, "reserved"));
      for (const gpu of log.gpus) {
        expectIdentity(gpu.memory, file);
        expect(gpu.devices, file).toEqual([]);
      }
    }
  });

  it("CSV: each line is a row, with the figures that are known of it", () => {
    for (const recording of ofKind("csv query-gpu")) {
      const { file, gpus, quirks } = recording;
      const rows = rowsOf(recording);
      const missing = /row 3 silently missing|INDEXES of the healthy/.test(quirks) ? 1 : 0;
      expect(rows.length, file).toBe(Number(/^(\d+)x/.exec(gpus)?.[1] ?? 1) - missing);
      for (const row of rows)
        if (row.totalMb !== undefined && row.usedMb !== undefined && row.reservedMb !== undefined) expectIdentity(row, file);
      if (!quirks.includes("cols;")) continue;
      const [totalMb, reservedMb, usedMb, freeMb] = ["total", "reserved", "used", "free"].map((name) => figure(quirks, name));
      expect(rows[0], file).toMatchObject({ totalMb, reservedMb, usedMb, freeMb });
      const load = /util=(\d+) %/.exec(quirks)?.[1];
      expect(rows[0]?.loadPercent, file).toBe(load === undefined ? undefined : Number(load));
      const mig = /mig=(\w+|\[N\/A\])/.exec(quirks)?.[1];
      expect(rows[0]?.migCurrent, file).toBe(mig === "[N/A]" ? undefined : mig);
      expect(judge(rows[0] as GpuRow, false).health, file).toBe(mig === "Enabled" ? "degraded" : "ok");
    }
  });

  it("CSV: words in the memory cells are no numbers, and nothing is admitted on them", () => {
    const words = ofKind("csv query-gpu (error cells)");
    expect(words.length).toBeGreaterThan(10);
    for (const recording of words) {
      const sick = rowsOf(recording).filter(
        (row) => wordOf(`[${row.words["memory.free"] ?? ""}]`) !== undefined && row.words["memory.free"],
      );
      expect(sick.length, recording.file).toBe(recording.file.includes("gpu3lost") ? 1 : 2);
      for (const row of sick) {
        expect([row.totalMb, row.usedMb, row.freeMb], recording.file).toEqual([undefined, undefined, undefined]);
        expect(judge(row, false).health, recording.file).toBe(
          /lost|requires reset/.test(row.words["memory.free"] ?? "") ? "lost" : "degraded",
        );
      }
    }
  });

  it("process lists: each process with its figure, or without where there is none", () => {
    for (const { file, quirks, text } of ofKind("csv query-compute-apps")) {
      const lines = text.trimEnd().split("\n");
      const asked = /--query-compute-apps=([^ ]+)/.exec(quirks)?.[1]?.split(",");
      const headed = lines[0]?.includes("used_gpu_memory [");
      const titles = asked ?? (lines[0] as string).split(", ").map((title) => title.replace(/ \[.*\]$/, ""));
      const at = ["gpu_uuid", "pid", "used", "process_name"].map((name) => titles.findIndex((title) => title.startsWith(name)));
      const body = (headed ? lines.slice(1) : lines).filter((line) => line !== "");
      const projected = body.map((line) => `${at.map((place) => line.split(", ")[place]).join(", ")}\n`).join("");
      const { list, rejected, incomplete } = parseComputeApps(projected);
      expect({ rejected, incomplete: [...incomplete] }, file).toEqual({ rejected: 0, incomplete: [] });
      expect(list.length, file).toBe(Number(/(\d+) rows/.exec(quirks)?.[1] ?? body.length));
      if (quirks.includes("WDDM")) for (const app of list) expect(app.usedMb, file).toBeUndefined();
      else for (const app of list) expect(app.usedMb, file).toBeTypeOf("number");
      if (file.includes("name-no")) for (const app of list) expect(app.nameless, file).toBe(true);
    }
  });

  it("listings: GPUs, MIG devices, and the one that cannot be opened", () => {
    for (const { file, quirks, text } of ofKind("text -L")) {
      const { gpus, unreadable } = parseListing(text);
      if (file.includes("openfails")) {
        expect(
          gpus.map((gpu) => gpu.index),
          file,
        ).toEqual([0, 1, 2, 4, 5, 6, 7]);
        expect(unreadable, file).toEqual([{ index: 3, sentence: expect.stringContaining("GPU is lost") }]);
      } else {
        expect([gpus.length, unreadable.length], file).toEqual([1, 0]);
        expect(gpus[0]?.devices.length, file).toBe(quirks.includes("MIG") ? 4 : 0);
      }
    }
  });

  it("error texts: no rows, and a sentence in plain words", () => {
    for (const recording of ofKind("error text")) {
      const { file, text } = recording;
      expect(parseGpuRows(text, coreQuery(new Set())).rows, file).toEqual([]);
      expect(parseGpuRows(text, ["index"]).rows, file).toEqual([]);
      expect(troubleOf({ kind: "ended", end: { code: exitOf(recording) }, text }, "nvidia-smi"), file).toMatch(
        /\w{2,}.*[.?"]$/,
      );
    }
  });

  it("streams: the same rows come out with the reads as they were, and however they are cut", () => {
    const streams = ofKind("stream chunks");
    expect(streams.length).toBeGreaterThan(5);
    for (const { file, text } of streams) {
      const chunks = text
        .trimEnd()
        .split("\n")
        .map((line) => Buffer.from((JSON.parse(line) as { text: string }).text));
      const csv = readFileSync(join(folder, file.replace(".chunks.jsonl", ".csv")), "utf8");
      const whole = csv.split("\n").slice(0, -1);
      const splitter = new LineSplitter();
      expect(
        chunks.flatMap((chunk) => splitter.push(chunk)),
        file,
      ).toEqual(whole);
      const all = Buffer.concat(chunks);
      fc.assert(
        fc.property(fc.array(fc.nat(all.length), { maxLength: 60 }), (cuts) => {
          const again = new LineSplitter();
          const places = [...cuts.sort((a, b) => a - b), all.length];
          expect(places.flatMap((to, at) => again.push(all.subarray(places[at - 1] ?? 0, to)))).toEqual(whole);
        }),
        { numRuns: 30 },
      );
    }
  });

  it("streams: rounds have all GPUs, also while one is lost and even its index and uuid are words", () => {
    const recording = recordings.find(({ file }) => file === "lab-loop-gpu3lost-recovers-550.163.01.csv") as Recording;
    const rows = rowsOf(recording);
    const order = rows.slice(0, 8).map((row) => row.uuid as string);
    const collector = new TickCollector(order);
    const health: string[] = [];
    for (const row of rows) {
      expect(collector.add(row)).toBeUndefined();
      const { rows: round, full } = collector.tick;
      if (!full) continue;
      expect([...round.keys()]).toEqual(order);
      health.push([...round.values()].map((told) => judge(told, false).health).join(" "));
    }
    const well = Array(8).fill("ok").join(" ");
    const without = ["ok", "ok", "ok", "lost", "ok", "ok", "ok", "ok"].join(" ");
    expect(health.filter((round, at) => round !== health[at - 1])).toEqual([well, without, well]);
  });
});
