import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseComputeApps } from "../../../src/monitor/nvidia/compute-apps.ts";
import { coreQuery, type GpuRow, parseGpuRow, parseGpuRows, streamQuery } from "../../../src/monitor/nvidia/gpu-row.ts";
import { judge } from "../../../src/monitor/nvidia/judgement.ts";
import { LineSplitter } from "../../../src/monitor/nvidia/line-splitter.ts";
import { parseListing } from "../../../src/monitor/nvidia/listing.ts";
import { migDevicesOf } from "../../../src/monitor/nvidia/mig.ts";
import { parseQueryXml, type XmlMemory } from "../../../src/monitor/nvidia/query-xml.ts";
import { troubleOf } from "../../../src/monitor/nvidia/trouble.ts";

const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8");
const stream = streamQuery(new Set());
const core = coreQuery(new Set());
const uuid = "GPU-aaaaaaaa-0000-4000-8000-000000000001";
const valid = [
  `2026/01/05 10:00:00.000, 0, ${uuid}, 24564, 346, 1000, 23218, 7, 41, 38.50, Default, [N/A]\n`,
  `2, 0, ${uuid}, 00000000:01:00.0, 24564, 346, 0, 24218, [N/A], [N/A], Default, 0, 41, 38.50, 550.1, NVIDIA A\n`,
  `${uuid}, 1234, 1024, /opt/my app/python3\n`,
  fixture("mig-listing.txt"),
  fixture("mig-two-gpus.xml"),
];

/** A valid answer with pieces cut out, doubled, or replaced by something else. */
const mutated = fc
  .record({
    text: fc.constantFrom(...valid),
    at: fc.nat(),
    length: fc.nat(40),
    insert: fc.oneof(fc.string(), fc.constantFrom("[GPU is lost]", "\n", ", ", "<", "</gpu>", "&#x0;", "99999999")),
  })
  .map(({ text, at, length, insert }) => {
    const from = at % (text.length + 1);
    return text.slice(0, from) + insert + text.slice(from + length);
  });
const bytes = fc.uint8Array({ maxLength: 400 }).map((array) => Buffer.from(array).toString("utf8"));
const anything = fc.oneof(fc.string({ unit: "binary" }), bytes, mutated);

function expectFigures(figures: XmlMemory | GpuRow): void {
  for (const key of ["totalMb", "reservedMb", "usedMb", "freeMb"] as const) {
    const value = figures[key];
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0)) throw new Error(`${key} is ${value}`);
  }
}

describe("whatever nvidia-smi prints", () => {
  it("no parser throws, and no figure is anything but a whole number that is not negative", () => {
    fc.assert(
      fc.property(anything, fc.integer({ min: 0, max: 255 }), (text, code) => {
        for (const columns of [stream, core]) for (const row of parseGpuRows(text, columns).rows) expectFigures(row);
        const listing = parseListing(text);
        for (const gpu of parseQueryXml(text).gpus) {
          expectFigures(gpu.memory);
          for (const device of migDevicesOf(gpu, listing).devices) expectFigures(device.memory);
        }
        for (const app of parseComputeApps(text).list) expect(Number.isSafeInteger(app.pid)).toBe(true);
        const sentence = troubleOf({ kind: "ended", end: { code }, text }, "nvidia-smi");
        if (sentence !== undefined) expect(sentence.length).toBeLessThan(700);
      }),
      { numRuns: 2000 },
    );
  });

  it("a row that is judged ok has figures that are possible", () => {
    const cell = fc.oneof(fc.nat(2000).map(String), fc.constantFrom("[N/A]", "[GPU is lost]", "-5", "", "ERR!", "12.5"));
    fc.assert(
      fc.property(fc.tuple(cell, cell, cell, cell, cell), ([total, reserved, used, free, temperature]) => {
        const row = parseGpuRow(
          `2026/01/05 10:00:00.000, 0, ${uuid}, ${total}, ${reserved}, ${used}, ${free}, 0, ${temperature}, 1, Default, [N/A]`,
          stream,
        );
        if (!row || judge(row, false).health !== "ok") return;
        const { totalMb = -1, usedMb = -1, freeMb = -1 } = row;
        expect(totalMb).toBeGreaterThan(0);
        expect(usedMb).toBeGreaterThanOrEqual(0);
        expect(freeMb).toBeGreaterThanOrEqual(0);
        expect(usedMb + freeMb).toBeLessThanOrEqual(totalMb + 4);
      }),
      { numRuns: 2000 },
    );
  });

  it("the same lines come out however the bytes are cut, and little is held", () => {
    const lines = fc.array(
      fc.string({ unit: "binary", maxLength: 60 }).map((line) => line.replace(/[\r\n]/g, " ")),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(lines, fc.array(fc.nat(), { maxLength: 30 }), (wanted, cuts) => {
        const all = Buffer.from(wanted.map((line) => `${line}\n`).join(""));
        const places = [...new Set(cuts.map((cut) => cut % (all.length + 1)))].sort((x, y) => x - y);
        const splitter = new LineSplitter(400);
        const got: string[] = [];
        let from = 0;
        for (const to of [...places, all.length]) {
          got.push(...splitter.push(all.subarray(from, to)));
          expect(splitter.pendingBytes).toBeLessThanOrEqual(400);
          from = to;
        }
        expect(got).toEqual(all.toString("utf8").split("\n").slice(0, -1));
      }),
    );
  });
});
