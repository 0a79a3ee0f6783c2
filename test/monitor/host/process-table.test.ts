import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { ProcProcessTable, parseProcStat, pidOf } from "../../../src/monitor/process-table.ts";
import { waitFor } from "../../wait-for.ts";
import { addFiles, fixtureRoot, procFiles, statLine } from "./fixture-root.ts";

const hasProc = existsSync("/proc/self/stat");
if (!hasProc) process.stderr.write("no /proc here: tests with real processes are skipped\n");

function tableOf(...lines: readonly string[]): { table: ProcProcessTable; root: string } {
  const root = fixtureRoot(procFiles(...lines));
  return { table: new ProcProcessTable(join(root, "proc")), root };
}

/** A child that is ended when the test ends, if it still runs. */
function run(command: string, ...args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

describe("parsing /proc/<pid>/stat", () => {
  it("finds the fields behind a name with blanks, parentheses and line ends", () => {
    for (const name of ["a b", "(sd-pam)", ") R 1 2 3", "x) Z 9 (y", "a\nb", "", "tmux: server"]) {
      expect(parseProcStat(statLine(42, 7, { name, state: "D", start: "987654321", threads: 3 }))).toEqual({
        pid: 42,
        ppid: 7,
        state: "D",
        threads: 3,
        startTime: "987654321",
      });
    }
  });

  it("keeps a start time that is too long for a number", () => {
    expect(parseProcStat(statLine(42, 7, { start: "18446744073709551615" }))?.startTime).toBe("18446744073709551615");
  });

  it("finds them whatever the name is", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 64 }), fc.integer({ min: 1, max: 4194304 }), (name, pid) => {
        expect(parseProcStat(statLine(pid, 1, { name }))).toMatchObject({ pid, ppid: 1, startTime: String(1000 + pid) });
      }),
    );
  });

  it("never throws, and answers nothing rather than half a process", () => {
    const cut = fc.nat(200).map((n) => statLine(42, 7).slice(0, n));
    fc.assert(
      fc.property(fc.oneof(fc.string(), cut), (text) => {
        const stat = parseProcStat(text);
        if (!stat) return;
        expect(stat.pid).toBeGreaterThan(0);
        expect(stat.ppid).toBeGreaterThanOrEqual(0);
        expect(stat.startTime).toMatch(/^\d+$/);
      }),
    );
    expect(parseProcStat("42 (x) S 7")).toBeUndefined();
  });

  it("reads a pid out of keys only", () => {
    expect(pidOf("42:17")).toBe(42);
    expect(pidOf("42:?")).toBe(42);
    for (const key of ["", "42", ":", "0:1", "-1:5", "42:", "42:x", "9999999999:1", "1e3:1"])
      expect(pidOf(key)).toBeUndefined();
  });
});

describe("a /proc of fixtures", () => {
  it("knows a process by pid and start time", () => {
    const { table } = tableOf(statLine(42, 1, { start: "777" }));
    expect(table.key(42)).toBe("42:777");
    expect(table.alive("42:777")).toBe(true);
  });

  it("does not take another process with the same pid for it", () => {
    const { table, root } = tableOf(statLine(42, 1, { start: "777" }));
    addFiles(root, procFiles(statLine(42, 1, { start: "778" })));
    expect(table.alive("42:777")).toBe(false);
    expect(table.alive("42:?")).toBe(false);
    expect(table.tree("42:777")).toEqual([]);
  });

  it("counts zombies and dead ones as none", () => {
    const { table } = tableOf(
      statLine(42, 1, { state: "Z" }),
      statLine(43, 1, { state: "X" }),
      statLine(44, 1, { state: "Z", threads: 0 }),
    );
    for (const pid of [42, 43, 44]) {
      expect(table.key(pid)).toBeUndefined();
      expect(table.lineage(pid)).toEqual([]);
      expect(table.alive(`${pid}:${1000 + pid}`)).toBe(false);
    }
  });

  it("counts a process whose first thread has ended while others run as running", () => {
    const { table } = tableOf(statLine(42, 1, { state: "Z", threads: 5 }));
    expect(table.alive("42:1042")).toBe(true);
  });

  it("does not say that a process has ended when its state cannot be read", () => {
    const { table, root } = tableOf(statLine(42, 1));
    rmSync(join(root, "proc/42/stat"));
    // A folder in place of the file: reading it fails with another error than "not there".
    addFiles(root, { "proc/42/stat/x": "" });
    expect(table.alive("42:1042")).toBe(true);
    rmSync(join(root, "proc/42"), { recursive: true });
    expect(table.alive("42:1042")).toBe(false);
  });

  it("walks from a process to its oldest visible ancestor", () => {
    const { table } = tableOf(statLine(1, 0), statLine(20, 1), statLine(30, 20));
    expect(table.lineage(30)).toEqual(["30:1030", "20:1020", "1:1001"]);
    expect(table.lineage(99)).toEqual([]);
  });

  it("ends at a parent that is younger than its child, because that pid belongs to another process now", () => {
    const { table } = tableOf(statLine(20, 1, { start: "5000" }), statLine(30, 20, { start: "4000" }));
    expect(table.lineage(30)).toEqual(["30:4000"]);
  });

  it("ends when parents form a ring", () => {
    const { table } = tableOf(statLine(20, 30, { start: "5" }), statLine(30, 20, { start: "5" }));
    expect(table.lineage(30).length).toBeLessThanOrEqual(1024);
    expect(table.tree("20:5")).toEqual([20, 30]);
  });

  it("finds all descendants, parents first, without zombies and strangers", () => {
    const { table } = tableOf(
      statLine(10, 1),
      statLine(11, 10),
      statLine(12, 10, { state: "Z" }),
      statLine(13, 11),
      statLine(14, 13),
      statLine(50, 1),
    );
    expect(table.tree("10:1010")).toEqual([10, 11, 13, 14]);
    expect(table.tree("10:1")).toEqual([]);
  });

  it("finds many trees with one look, and leaves out roots that have ended", async () => {
    const lines = Array.from({ length: 300 }, (_, n) => statLine(1000 + n, n < 2 ? 1 : 998 + n));
    const { table } = tableOf(...lines);
    const trees = await table.trees(["1000:2000", "1001:2001", "7:7"]);
    expect([...trees.keys()]).toEqual(["1000:2000", "1001:2001"]);
    expect(trees.get("1000:2000")).toEqual(table.tree("1000:2000"));
    expect(trees.get("1000:2000")?.length).toBe(150);
  });

  it("refuses pids that would mean a process group or everybody", () => {
    const { table } = tableOf(statLine(42, 1));
    for (const pid of [0, -1, 1.5, Number.NaN, 2 ** 32]) expect(table.key(pid)).toBeUndefined();
  });
});

describe("without /proc", () => {
  const table = () => new ProcProcessTable(join(fixtureRoot({}), "no-proc"));

  it("knows a process by its pid alone, until it has ended", async () => {
    const child = run("sleep", "60");
    const pid = child.pid as number;
    const t = table();
    expect(t.key(pid)).toBe(`${pid}:?`);
    expect(t.lineage(pid)).toEqual([`${pid}:?`]);
    expect(t.tree(`${pid}:?`)).toEqual([pid]);
    expect([...(await t.trees([`${pid}:?`]))]).toEqual([[`${pid}:?`, [pid]]]);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(t.alive(`${pid}:?`)).toBe(false);
    expect(t.key(pid)).toBeUndefined();
    expect(t.tree(`${pid}:?`)).toEqual([]);
  });

  it("does not know a key that was made with a start time", () => {
    expect(table().alive(`${process.pid}:123`)).toBe(false);
  });

  it("counts a process of another user as running", () => {
    // Signal 0 to init is refused with EPERM for ordinary users and works for root: it runs in both cases.
    expect(table().key(1)).toBe("1:?");
  });
});

describe.skipIf(!hasProc)("real processes", () => {
  const table = new ProcProcessTable();

  it("knows itself and its parents", () => {
    const key = table.key(process.pid);
    expect(key).toMatch(new RegExp(`^${process.pid}:\\d+$`));
    expect(table.lineage(process.pid)[0]).toBe(key);
    expect(table.lineage(process.pid)[1]).toBe(table.key(process.ppid));
  });

  it("sees a child end by kill -9", async () => {
    const child = run("sleep", "60");
    const key = table.key(child.pid as number) as string;
    expect(table.alive(key)).toBe(true);
    expect(table.lineage(child.pid as number)).toContain(table.key(process.pid));
    child.kill("SIGKILL");
    await waitFor(() => !table.alive(key), "the child to be gone");
  });

  it("sees a child end although its parent never asks for its exit code", async () => {
    // The shell tells the pid of its child and becomes a program that does not know that it has one.
    const parent = run("sh", "-c", "sleep 0.2 & echo $!; exec sleep 60");
    const [chunk] = (await once(parent.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
    const pid = Number(chunk.toString());
    const key = table.key(pid) as string;
    expect(table.alive(key)).toBe(true);
    await waitFor(() => readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z "), "a zombie");
    expect(table.key(pid)).toBeUndefined();
    expect(table.alive(key)).toBe(false);
    expect(table.alive(table.key(parent.pid as number) as string)).toBe(true);
  });

  it("sees a grandchild in the tree", async () => {
    const parent = run("sh", "-c", "sleep 60 & echo $!; wait");
    onTestFinished(() => void process.kill(grandchild, "SIGKILL"));
    const [chunk] = (await once(parent.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
    const grandchild = Number(chunk.toString());
    expect(table.tree(table.key(parent.pid as number) as string)).toEqual([parent.pid, grandchild]);
    expect(table.tree(table.key(process.pid) as string)).toEqual(expect.arrayContaining([process.pid, parent.pid, grandchild]));
  });
});
