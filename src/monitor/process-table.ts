import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { ProcessKey } from "../engine/sample.ts";
import type { ProcessTable } from "./host-probe.ts";

/** The fields of /proc/<pid>/stat that are of use here. */
export interface ProcStat {
  readonly pid: number;
  readonly ppid: number;
  /** One letter: R, S, D, Z (zombie), X (dead), … */
  readonly state: string;
  readonly threads: number;
  /** Clock ticks since boot, as written: it may be longer than a number can hold. */
  readonly startTime: string;
}

/** How many files are read in one go before other work gets its turn; about 1 ms. */
const filesPerTurn = 64;

const deepestLineage = 1024;

/**
 * Processes as /proc shows them. Where there is no /proc (macOS) a process is known by its pid alone: no parents, no children,
 * and a pid that was given to another process cannot be told apart.
 */
export class ProcProcessTable implements ProcessTable {
  private readonly proc: string;
  private readonly hasProc: boolean;

  /** @param proc the /proc to read. */
  constructor(proc = "/proc") {
    this.proc = proc;
    this.hasProc = existsSync(join(proc, "self", "stat"));
  }

  key(pid: number): ProcessKey | undefined {
    if (!isPid(pid)) return undefined;
    if (!this.hasProc) return answersSignals(pid) ? `${pid}:?` : undefined;
    const stat = this.stat(pid);
    return typeof stat === "object" && runs(stat) ? keyOf(stat) : undefined;
  }

  lineage(pid: number): readonly ProcessKey[] {
    const own = this.key(pid);
    if (own === undefined) return [];
    if (!this.hasProc) return [own];
    const line: ProcessKey[] = [];
    let stat: StatResult = this.stat(pid);
    while (typeof stat === "object" && line.length < deepestLineage) {
      line.push(keyOf(stat));
      const parent: StatResult = isPid(stat.ppid) ? this.stat(stat.ppid) : "gone";
      // A parent that is younger than its child is another process that was given the parent's pid.
      const younger = typeof parent === "object" && Number(parent.startTime) > Number(stat.startTime);
      stat = younger ? "gone" : parent;
    }
    return line;
  }

  alive(key: ProcessKey): boolean {
    const pid = pidOf(key);
    if (pid === undefined) return false;
    if (!this.hasProc) return key === `${pid}:?` && answersSignals(pid);
    const stat = this.stat(pid);
    // Its memory counts as free once a process has ended, so "cannot be read now" (no file descriptors left, say) is not an end.
    if (stat === "unreadable") return true;
    return stat !== "gone" && runs(stat) && keyOf(stat) === key;
  }

  tree(key: ProcessKey): readonly number[] {
    if (!this.alive(key)) return [];
    const pid = pidOf(key) as number;
    if (!this.hasProc) return [pid];
    return descend(pid, childrenByParent(this.pids().map((p) => this.stat(p))));
  }

  /**
   * The same as `tree` for many roots with one look at all processes, in slices, so that a machine with thousands of them does
   * not hold up everything else. A root that has ended is absent.
   */
  async trees(keys: readonly ProcessKey[]): Promise<ReadonlyMap<ProcessKey, readonly number[]>> {
    const stats: StatResult[] = [];
    if (this.hasProc && keys.length > 0) {
      for (const [n, pid] of this.pids().entries()) {
        if (n % filesPerTurn === filesPerTurn - 1) await nextTurn();
        stats.push(this.stat(pid));
      }
    }
    const children = childrenByParent(stats);
    const trees = new Map<ProcessKey, readonly number[]>();
    for (const key of keys) {
      if (this.alive(key)) trees.set(key, descend(pidOf(key) as number, children));
    }
    return trees;
  }

  private pids(): number[] {
    try {
      return readdirSync(this.proc)
        .filter((name) => /^[1-9]\d{0,9}$/.test(name))
        .map(Number);
    } catch {
      return [];
    }
  }

  private stat(pid: number): StatResult {
    try {
      return parseProcStat(readFileSync(join(this.proc, String(pid), "stat"), "latin1")) ?? "unreadable";
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      return code === "ENOENT" || code === "ESRCH" || code === "ENOTDIR" ? "gone" : "unreadable";
    }
  }
}

type StatResult = ProcStat | "gone" | "unreadable";

/**
 * Reads /proc/<pid>/stat. The name in it is chosen by the process and may hold blanks, parentheses and line ends, so fields are
 * counted from the last `)`. Undefined when the text is not of that form.
 */
export function parseProcStat(text: string): ProcStat | undefined {
  const open = text.indexOf(" (");
  const close = text.lastIndexOf(")");
  if (open < 1 || close <= open) return undefined;
  const pid = Number(text.slice(0, open));
  // Field 3 of the manual page is the first one here.
  const rest = text
    .slice(close + 1)
    .trim()
    .split(/\s+/);
  const [state = "", ppidText = ""] = rest;
  const threads = Number(rest[17]);
  const startTime = rest[19] ?? "";
  const ppid = /^\d+$/.test(ppidText) ? Number(ppidText) : Number.NaN;
  if (!isPid(pid) || !Number.isSafeInteger(ppid) || !/^[A-Za-z]$/.test(state)) return undefined;
  if (!/^\d{1,20}$/.test(startTime) || !Number.isSafeInteger(threads) || threads < 0) return undefined;
  return { pid, ppid, state, threads, startTime };
}

/** The pid in a key; undefined when it is not a key. */
export function pidOf(key: ProcessKey): number | undefined {
  const match = /^([1-9]\d{0,9}):(?:\d{1,20}|\?)$/.exec(key);
  const pid = Number(match?.[1]);
  return isPid(pid) ? pid : undefined;
}

function keyOf(stat: ProcStat): ProcessKey {
  return `${stat.pid}:${stat.startTime}`;
}

/** A process whose first thread has ended while others go on is shown as a zombie with more than one thread: it runs. */
function runs(stat: ProcStat): boolean {
  return stat.state !== "X" && stat.state !== "x" && !(stat.state === "Z" && stat.threads <= 1);
}

function childrenByParent(stats: readonly StatResult[]): ReadonlyMap<number, readonly number[]> {
  const children = new Map<number, number[]>();
  for (const stat of stats) {
    if (typeof stat !== "object" || !runs(stat)) continue;
    const siblings = children.get(stat.ppid);
    if (siblings) siblings.push(stat.pid);
    else children.set(stat.ppid, [stat.pid]);
  }
  return children;
}

/** A set keeps the order in which pids are added and visits those that are added on the way: parents first, each once. */
function descend(root: number, children: ReadonlyMap<number, readonly number[]>): number[] {
  const members = new Set([root]);
  for (const pid of members) {
    for (const child of children.get(pid) ?? []) members.add(child);
  }
  return [...members];
}

function isPid(pid: number): boolean {
  return Number.isInteger(pid) && pid > 0 && pid <= 0x7fff_ffff;
}

function answersSignals(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
