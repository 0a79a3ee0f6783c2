import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Standing, WaitLine } from "../../../src/cli/run/wait-line.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
});
afterEach(() => vi.useRealTimers());

function lineOn(isTerminal: boolean, columns = 200) {
  const written: string[] = [];
  const line = new WaitLine({
    write: (text) => written.push(text),
    isTerminal,
    columns: () => columns,
    monotonic: () => performance.now(),
  });
  return { line, written };
}

function standing(position: number, reason: string, waitedMs = 0): Standing {
  return { position, queueLength: 7, waitedMs, reasons: [reason] };
}

describe("the wait line in a terminal", () => {
  it("is drawn again in its place on each change and each second, and taken away at the end", () => {
    const { line, written } = lineOn(true);
    line.update(standing(3, "full", 12_000));
    vi.advanceTimersByTime(1_000);
    line.update({ ...standing(2, "full", 13_500), latest: "14:05" });
    line.close();
    expect(written).toEqual([
      "\rsluice: waiting 12s, place 3 of 7: full\x1b[K",
      "\rsluice: waiting 13s, place 3 of 7: full\x1b[K",
      "\rsluice: waiting 13s, place 2 of 7 (starts at the latest at 14:05): full\x1b[K",
      "\r\x1b[K",
    ]);
    vi.advanceTimersByTime(10_000);
    expect(written).toHaveLength(4);
  });

  it("never takes more than one line of the terminal", () => {
    const { line, written } = lineOn(true, 40);
    line.update(standing(1, "GPU 0 has 2100 MiB available and 6000 MiB are needed, and so on and so on"));
    const drawn = written[0]?.slice(1).replace("\x1b[K", "") ?? "";
    expect(drawn).toHaveLength(39);
    expect(drawn.endsWith("…")).toBe(true);
    line.close();
  });

  it("makes room for a note and comes back under it", () => {
    const { line, written } = lineOn(true);
    line.update(standing(1, "full"));
    line.note("the server is away; asking again");
    expect(written.slice(1)).toEqual([
      "\r\x1b[K",
      "sluice: the server is away; asking again\n",
      "\rsluice: waiting 0s, place 1 of 7: full\x1b[K",
    ]);
    line.close();
  });
});

describe("the wait line in a log", () => {
  it("is a line for each change, at most every 5 s, and the newest state wins", () => {
    const { line, written } = lineOn(false);
    line.update(standing(3, "first"));
    line.update(standing(3, "second"));
    line.update(standing(2, "third", 2_000));
    expect(written).toEqual(["sluice: waiting 0s, place 3 of 7: first\n"]);
    vi.advanceTimersByTime(5_000);
    expect(written.slice(1)).toEqual(["sluice: waiting 2s, place 2 of 7: third\n"]);
    line.close();
  });

  it("is not repeated while only the time passes", () => {
    const { line, written } = lineOn(false);
    for (let i = 0; i < 10; i++) {
      line.update(standing(1, "same", i * 15_000));
      vi.advanceTimersByTime(15_000);
    }
    expect(written).toHaveLength(1);
    line.close();
  });

  it("does not speak any more once it is closed", () => {
    const { line, written } = lineOn(false);
    line.update(standing(2, "a"));
    line.update(standing(1, "b"));
    line.close();
    vi.advanceTimersByTime(60_000);
    expect(written).toHaveLength(1);
  });
});
