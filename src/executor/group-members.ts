import { setImmediate as nextTurn } from "node:timers/promises";
import { descendants, type ProcessRow, readProcess, readProcesses, startedWith } from "./process-tree.ts";

/** A process group with everything that descends from it. */
export interface GroupIdentity {
  /** Its first process, and its number. */
  readonly pid: number;
  /** Start of its first process, in clock ticks since boot; undefined where there is no /proc. */
  readonly start: number | undefined;
  /** "NAME=value" of the environment of its processes, which no other group has; undefined: none. */
  readonly marker: string | undefined;
}

/** When its number may be taken for its own: then every process in the process group or session of that number belongs to it. */
export interface NumberTrust {
  /** True while the number cannot belong to anybody else, whatever the process table says. */
  pinned(): boolean;
  /** What counts when it is not pinned: that nobody else has the number now, or only that its first process is there. */
  readonly otherwise: "nobody-else" | "first-process";
}

/** How long to go on after SIGKILL before giving up, in ms. */
const giveUpMs = 5_000;
const pollMs = 20;

/**
 * Finds what belongs to a process group, and ends it.
 *
 * A process belongs to the group when it is in its process group or session, descends from one that belongs, or carries the
 * marker. A signal goes only to a process whose start time was checked just before, so that a reused pid is never hit.
 */
export class GroupMembers {
  readonly #group: GroupIdentity;
  readonly #trust: NumberTrust;
  readonly #known = new Set<string>();

  constructor(group: GroupIdentity, trust: NumberTrust) {
    this.#group = group;
    this.#trust = trust;
  }

  /** What belongs to the group and still runs. */
  async find(): Promise<ProcessRow[]> {
    const { pid, start, marker } = this.#group;
    const rows = start === undefined ? undefined : await readProcesses();
    if (start === undefined || rows === undefined) return this.#withoutProc();
    const numberIsOurs = this.#numberIsOurs(rows);
    const roots = new Set<number>();
    let looked = 0;
    for (const row of rows) {
      // Nothing that is older than the first process can descend from it.
      if (row.start < start || row.pid === process.pid) continue;
      const ours =
        this.#known.has(keyOf(row)) ||
        (row.pid === pid && row.start === start) ||
        (numberIsOurs && (row.group === pid || row.session === pid));
      if (ours) roots.add(row.pid);
      else if (marker !== undefined) {
        if (startedWith(row.pid, marker)) roots.add(row.pid);
        looked += 1;
        if (looked % 200 === 0) await nextTurn();
      }
    }
    const below = new Set(descendants(rows, roots).map((r) => r.pid));
    const members = rows.filter((r) => !r.zombie && r.pid !== process.pid && (roots.has(r.pid) || below.has(r.pid)));
    for (const member of members) this.#known.add(keyOf(member));
    return members;
  }

  /**
   * Ends them: SIGTERM, the grace, SIGKILL.
   * @param how.gone true when its first process is known to have ended; without it the table has to do.
   * @param how.onSignal just before each round of signals.
   * @param how.wait until there may be news, at most so many ms.
   * @returns how many there were at first, and how many are left.
   */
  async end(how: {
    readonly graceMs: number;
    readonly gone?: () => boolean;
    readonly onSignal?: () => void;
    readonly wait: (ms: number) => Promise<void>;
  }): Promise<{ readonly found: number; readonly left: number }> {
    const from = performance.now();
    const asked = new Set<string>();
    let found = 0;
    for (let round = 0; ; round += 1) {
      // Looked up before each signal: once a parent is gone, its child can no longer be traced to it.
      const members = await this.find();
      if (round === 0) found = members.length;
      if ((how.gone?.() ?? true) && members.length === 0) return { found, left: 0 };
      const age = performance.now() - from;
      if (age > how.graceMs + giveUpMs) return { found, left: Math.max(1, members.length) };
      how.onSignal?.();
      if (age >= how.graceMs) this.#signal(members, "SIGKILL", true);
      // Asked once each: to many programs a second SIGTERM means "drop everything".
      else
        this.#signal(
          members.filter((m) => !asked.has(keyOf(m))),
          "SIGTERM",
          round === 0,
        );
      for (const member of members) asked.add(keyOf(member));
      await how.wait(pollMs);
    }
  }

  /** @param together to the process group as one, so that nothing that is being forked meanwhile is missed. */
  #signal(members: readonly ProcessRow[], signal: NodeJS.Signals, together: boolean): void {
    const { pid } = this.#group;
    // The number cannot belong to anybody else while a process that was checked is in it.
    const group = together && (this.#trust.pinned() || members.some((m) => m.group === pid && same(m)));
    if (group) send(-pid, signal);
    for (const member of members) {
      if (!(group && member.group === pid) && same(member)) send(member.pid, signal);
    }
  }

  #numberIsOurs(rows: readonly ProcessRow[]): boolean {
    const { pid, start } = this.#group;
    if (this.#trust.pinned()) return true;
    if (this.#trust.otherwise === "first-process") return rows.some((r) => r.pid === pid && r.start === start);
    return !rows.some((r) => r.pid === pid && r.start !== start);
  }

  /** Where there is no /proc only the process group itself can be seen. */
  #withoutProc(): ProcessRow[] {
    const { pid } = this.#group;
    try {
      process.kill(-pid, 0);
    } catch {
      return [];
    }
    return [{ pid, ppid: 0, group: pid, session: pid, start: Number.NaN, zombie: false }];
  }
}

function keyOf(row: ProcessRow): string {
  return `${row.pid}:${row.start}`;
}

/** True while this very process is there; where the start time is not known, that it was just seen has to do. */
function same(row: ProcessRow): boolean {
  return Number.isNaN(row.start) || readProcess(row.pid)?.start === row.start;
}

function send(pid: number, signal: NodeJS.Signals): void {
  if (Math.abs(pid) <= 1 || pid === process.pid) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile, or belongs to another user: the next look says which.
  }
}
