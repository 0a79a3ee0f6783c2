import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { QueuedSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { standingFrom } from "../../../src/cli/run/wait.ts";
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

  it("counts down to the start that is expected, and says at the latest when that is known", () => {
    const { line, written } = lineOn(true);
    line.update({ ...standing(1, "full"), expectedInMs: 2_600 });
    vi.advanceTimersByTime(2_000);
    line.update({ ...standing(1, "full", 2_000), expectedInMs: 170_000, latest: "14:05" });
    line.close();
    expect(written.slice(0, -1)).toEqual([
      "\rsluice: waiting 0s, place 1 of 7 (starts in ~ 3 s): full\x1b[K",
      "\rsluice: waiting 1s, place 1 of 7 (starts in ~ 2 s): full\x1b[K",
      "\rsluice: waiting 2s, place 1 of 7 (starts any moment): full\x1b[K",
      "\rsluice: waiting 2s, place 1 of 7 (starts in ~ 3 min, at the latest at 14:05): full\x1b[K",
    ]);
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

  it("shows the estimate, and is not repeated because that has changed", () => {
    const { line, written } = lineOn(false);
    line.update({ ...standing(1, "same"), expectedInMs: 170_000 });
    vi.advanceTimersByTime(15_000);
    line.update({ ...standing(1, "same", 15_000), expectedInMs: 100_000 });
    vi.advanceTimersByTime(15_000);
    line.update({ ...standing(1, "other", 30_000), expectedInMs: 50_000 });
    expect(written).toEqual([
      "sluice: waiting 0s, place 1 of 7 (starts in ~ 3 min): same\n",
      "sluice: waiting 30s, place 1 of 7 (starts in ~ 50 s): other\n",
    ]);
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

describe("what the server says about a start", () => {
  const now = new Date(2026, 2, 1, 12, 0, 0).getTime();
  const queued = (init: MessageInitShape<typeof QueuedSchema>) => standingFrom(create(QueuedSchema, init), now);

  it("is told as the time that is left, and an upper bound as a time that is not before it", () => {
    expect(queued({ position: 2, expectedStart: timestampFromMs(now + 90_000) }).expectedInMs).toBe(90_000);
    expect(queued({ eta: timestampFromMs(now + 90_000) }).latest).toBe("12:02");
    expect(queued({ eta: timestampFromMs(now + 120_000) }).latest).toBe("12:02");
    expect(queued({ eta: timestampFromMs(now + 3 * 86_400_000) }).latest).toBe("4 Mar 12:00");
  });

  it("is left out where nothing is known", () => {
    const told = queued({ position: 2 });
    expect(told).not.toHaveProperty("expectedInMs");
    expect(told).not.toHaveProperty("latest");
  });
});
