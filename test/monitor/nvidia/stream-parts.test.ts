import { describe, expect, it } from "vitest";
import type { GpuRow } from "../../../src/monitor/nvidia/gpu-row.ts";
import { LineSplitter } from "../../../src/monitor/nvidia/line-splitter.ts";
import { RowClock } from "../../../src/monitor/nvidia/row-clock.ts";
import { TickCollector } from "../../../src/monitor/nvidia/tick-collector.ts";

describe("the line splitter", () => {
  it("counts a line only once its newline came", () => {
    const splitter = new LineSplitter();
    expect(splitter.push(Buffer.from("a, b"))).toEqual([]);
    expect(splitter.push(Buffer.from("c"))).toEqual([]);
    expect(splitter.push(Buffer.from("\nd\r\ne"))).toEqual(["a, bc", "d"]);
    expect(splitter.pendingBytes).toBe(1);
  });

  it("joins a character that was split between two reads", () => {
    const bytes = Buffer.from("é-ünïcode\n");
    const splitter = new LineSplitter();
    expect([...splitter.push(bytes.subarray(0, 1)), ...splitter.push(bytes.subarray(1))]).toEqual(["é-ünïcode"]);
  });

  it("drops lines that are too long, holds little while they come, and reads on after them", () => {
    const splitter = new LineSplitter(100);
    for (let i = 0; i < 10_000; i++) {
      expect(splitter.push(Buffer.alloc(1000, "x"))).toEqual([]);
      expect(splitter.pendingBytes).toBeLessThanOrEqual(100);
    }
    expect(splitter.push(Buffer.from("tail\nnext\n"))).toEqual(["next"]);
    expect(splitter.dropped).toBe(1);
  });
});

describe("rounds", () => {
  const row = (uuid: string | undefined): GpuRow =>
    uuid === undefined ? { words: { uuid: "GPU is lost" } } : { uuid, words: {} };

  it("are full when every GPU has spoken, and over when one speaks again", () => {
    const collector = new TickCollector(["a", "b"]);
    expect(collector.add(row("a"))).toBeUndefined();
    expect(collector.waiting).toBe(true);
    collector.add(row("b"));
    expect(collector.tick.full).toBe(true);
    expect(collector.add(row("a"))).toBeUndefined();
    expect([...collector.tick.rows.keys()]).toEqual(["a"]);
  });

  it("tell who was silent in a round that was not full", () => {
    const collector = new TickCollector(["a", "b", "c"]);
    collector.add(row("a"));
    collector.add(row("c"));
    const ended = collector.add(row("a"));
    expect([...(ended?.rows.keys() ?? [])]).toEqual(["a", "c"]);
  });

  it("give a row without index and uuid to the GPU whose turn it is", () => {
    const collector = new TickCollector(["a", "b", "c"]);
    for (let round = 0; round < 3; round++) {
      const lost = row(undefined);
      collector.add(row("a"));
      collector.add(lost);
      collector.add(row("c"));
      expect(collector.tick.full).toBe(true);
      expect(collector.tick.rows.get("b")).toBe(lost);
    }
    for (let round = 0; round < 2; round++) for (let i = 0; i < 3; i++) collector.add(row(undefined));
    expect(collector.tick.full).toBe(true);
    expect([...collector.tick.rows.keys()]).toEqual(["a", "b", "c"]);
  });

  it("grow when the loop opened a GPU that was hidden before", () => {
    const collector = new TickCollector(["a"]);
    collector.add(row("a"));
    collector.add(row("b"));
    expect([...collector.tick.rows.keys()]).toEqual(["a", "b"]);
    collector.add(row("a"));
    expect(collector.tick.full).toBe(false);
  });
});

describe("the age of rows", () => {
  const wall = 1_000_000;

  it("is that of their stamp, when it lies between what is possible", () => {
    const clock = new RowClock(0);
    expect(clock.read(1000, 100, true, wall)(wall - 30)).toBe(970);
  });

  it("is never younger than possible: of a stamp from the future, or long before the row can have been begun", () => {
    const clock = new RowClock(0);
    clock.read(1000, 100, true, wall);
    clock.read(1500, 100, true, wall + 500);
    const observedAt = clock.read(2000, 100, true, wall + 1000);
    // Begun after the row before it was written, which had not come with the read at 1000.
    for (const stamp of [wall + 1001, wall + 3_600_000, wall - 1, wall - 3_600_000, undefined])
      expect(observedAt(stamp)).toBe(1000);
    expect(observedAt(wall + 900)).toBe(1900);
  });

  it("does not take a read for proof that completed no line, or that may have left something in the pipe", () => {
    const clock = new RowClock(0);
    clock.read(1000, 100, false, wall);
    clock.read(2000, 65_536, true, wall);
    clock.read(3000, 100, false, wall);
    expect(clock.read(4000, 100, true, wall)(undefined)).toBe(0);
  });
});
