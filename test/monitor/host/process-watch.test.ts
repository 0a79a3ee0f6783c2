import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { ProcProcessTable } from "../../../src/monitor/process-table.ts";
import { ProcessWatch } from "../../../src/monitor/process-watch.ts";
import { waitFor } from "../../wait-for.ts";

const hasProc = existsSync("/proc/self/stat");
if (!hasProc) process.stderr.write("no /proc here: tests with real processes are skipped\n");

describe("with a table of the test's own", () => {
  const ended = new Set<string>();
  const looks: string[] = [];
  const table = {
    alive(key: string): boolean {
      looks.push(key);
      return !ended.has(key);
    },
  };

  beforeEach(() => {
    vi.useFakeTimers();
    ended.clear();
    looks.length = 0;
  });
  afterEach(() => void vi.useRealTimers());

  function watching(keys: readonly string[], onExit?: (key: string) => void) {
    const told: string[] = [];
    const watch = new ProcessWatch(table, (key) => {
      told.push(key);
      onExit?.(key);
    });
    onTestFinished(() => watch.stop());
    watch.set(keys);
    return { watch, told };
  }

  it("tells once when each has ended", () => {
    const { told } = watching(["1:1", "2:2"]);
    vi.advanceTimersByTime(1000);
    expect(told).toEqual([]);
    ended.add("2:2");
    vi.advanceTimersByTime(250);
    expect(told).toEqual(["2:2"]);
    ended.add("1:1");
    vi.advanceTimersByTime(5000);
    expect(told).toEqual(["2:2", "1:1"]);
  });

  it("has a timer only while there is something to watch", () => {
    const { watch } = watching([]);
    expect(vi.getTimerCount()).toBe(0);
    watch.set(["1:1"]);
    watch.set(["1:1", "2:2"]);
    expect(vi.getTimerCount()).toBe(1);
    ended.add("1:1").add("2:2");
    vi.advanceTimersByTime(250);
    expect(vi.getTimerCount()).toBe(0);
    watch.set(["3:3"]);
    expect(vi.getTimerCount()).toBe(1);
    watch.set([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not tell again when the next list still names one that has ended", () => {
    const { watch, told } = watching(["1:1"]);
    ended.add("1:1");
    vi.advanceTimersByTime(250);
    watch.set(["1:1", "2:2"]);
    vi.advanceTimersByTime(1000);
    expect(told).toEqual(["1:1"]);
  });

  it("tells of one that had ended before it was put on the list, but not from within set", () => {
    ended.add("1:1");
    const { told } = watching(["1:1"]);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(250);
    expect(told).toEqual(["1:1"]);
  });

  it("does not tell of one that was taken off the list by the one who was told just before", () => {
    ended.add("1:1").add("2:2");
    const { watch, told } = watching(["1:1", "2:2"], () => watch.set([]));
    vi.advanceTimersByTime(1000);
    expect(told).toEqual(["1:1"]);
  });

  it("goes on with the others when the one who is told throws", () => {
    ended.add("1:1").add("2:2");
    const { told } = watching(["1:1", "2:2"], (key) => {
      if (key === "1:1") throw new Error("reader's mistake");
    });
    expect(() => vi.advanceTimersByTime(250)).toThrow("reader's mistake");
    vi.advanceTimersByTime(250);
    expect(told).toEqual(["1:1", "2:2"]);
  });

  it("tells nothing after stop, and takes no new list", () => {
    const { watch, told } = watching(["1:1"]);
    ended.add("1:1");
    watch.stop();
    watch.stop();
    watch.set(["1:1"]);
    vi.advanceTimersByTime(1000);
    expect(told).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe.skipIf(!hasProc)("with real processes", () => {
  const table = new ProcProcessTable();

  function watching(keys: readonly string[]): string[] {
    const told: string[] = [];
    const watch = new ProcessWatch(table, (key) => told.push(key));
    onTestFinished(() => watch.stop());
    watch.set(keys);
    return told;
  }

  it("hears of a kill -9 within a second, and of the living nothing", async () => {
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    const other = spawn("sleep", ["60"], { stdio: "ignore" });
    onTestFinished(() => {
      child.kill("SIGKILL");
      other.kill("SIGKILL");
    });
    const key = table.key(child.pid as number) as string;
    const told = watching([key, table.key(other.pid as number) as string]);
    child.kill("SIGKILL");
    await waitFor(() => told.length > 0, "the end to be told", 1000);
    expect(told).toEqual([key]);
  });

  it("hears of the end of a process that is left as a zombie", async () => {
    const parent = spawn("sh", ["-c", "sleep 0.2 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
    onTestFinished(() => void parent.kill("SIGKILL"));
    const [chunk] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number(chunk.toString());
    const key = table.key(pid) as string;
    const told = watching([key]);
    await waitFor(() => told.length > 0, "the end to be told", 3000);
    expect(told).toEqual([key]);
    expect(existsSync(`/proc/${pid}/stat`)).toBe(true);
  });

  it("does not keep the program alive", () => {
    const timers = vi.spyOn(globalThis, "setInterval");
    onTestFinished(() => timers.mockRestore());
    watching(["1:1"]);
    expect(timers.mock.results.map((r) => (r.value as NodeJS.Timeout).hasRef())).toEqual([false]);
  });
});
