import { readdirSync, readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";

/** One row of the process table. `start` (clock ticks since boot) tells it from a later process with the same pid. */
export interface ProcessRow {
  readonly pid: number;
  readonly ppid: number;
  readonly group: number;
  readonly session: number;
  readonly start: number;
  /** It has ended and only waits to be collected. */
  readonly zombie: boolean;
}

const slice = 200;

/**
 * The process table as /proc shows it; undefined where there is none (not Linux). Read in slices, so that a machine with
 * many processes does not hold up everything else.
 */
export async function readProcesses(): Promise<ProcessRow[] | undefined> {
  let names: string[];
  try {
    names = readdirSync("/proc");
  } catch {
    return undefined;
  }
  const rows: ProcessRow[] = [];
  let seen = 0;
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    const row = readProcess(Number(name));
    if (row !== undefined) rows.push(row);
    seen += 1;
    if (seen % slice === 0) await nextTurn();
  }
  return rows.length === 0 ? undefined : rows;
}

/** One process; undefined when there is none with this pid, or no /proc. */
export function readProcess(pid: number): ProcessRow | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name, in brackets, may hold spaces and brackets itself.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, ppid, group, session] = fields;
  const start = Number(fields[19]);
  if (state === undefined || !Number.isFinite(start)) return undefined;
  return {
    pid,
    ppid: Number(ppid),
    group: Number(group),
    session: Number(session),
    start,
    zombie: state === "Z" || state === "X",
  };
}

/** True when the process was started with this in its environment ("NAME=value"). False when that cannot be seen. */
export function startedWith(pid: number, variable: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(variable);
  } catch {
    return false;
  }
}

/** Everything that descends from one of `roots`, the roots not included. */
export function descendants(rows: readonly ProcessRow[], roots: ReadonlySet<number>): ProcessRow[] {
  const children = new Map<number, ProcessRow[]>();
  for (const row of rows) {
    const list = children.get(row.ppid);
    if (list === undefined) children.set(row.ppid, [row]);
    else list.push(row);
  }
  const found: ProcessRow[] = [];
  const seen = new Set(roots);
  const todo = [...roots];
  for (let pid = todo.pop(); pid !== undefined; pid = todo.pop()) {
    for (const child of children.get(pid) ?? []) {
      if (seen.has(child.pid)) continue;
      seen.add(child.pid);
      found.push(child);
      todo.push(child.pid);
    }
  }
  return found;
}
