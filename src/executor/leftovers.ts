import { appendFileSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { endForeignGroup, groupRecord, recordedGroup } from "./foreign-group.ts";
import type { GroupIdentity } from "./group-members.ts";
import { readProcess } from "./process-tree.ts";

type Warn = (message: string) => void;

export interface Reaped {
  /** Groups of which something still ran. */
  readonly ended: number;
  /** Processes of them that could not be ended. */
  readonly left: number;
}

/** Time that what was left gets to end by itself after SIGTERM, in ms. */
const graceMs = 2_000;
/** Lines of groups that are gone, before the file is written anew. */
const maxDeadLines = 1_000;
const maxFileBytes = 16_777_216;
const fileName = /^workers-(\d+)-(\d+)\.jsonl$/;

/**
 * Keeps in a folder which groups run, for the case that the server and its guardian are both killed: the next server ends what is
 * left.
 *
 * Each server has a file of its own, named by its pid and start, one JSON object a line: `{boot}`, the boot that pids and starts
 * are of, then `{add: {pid, start, marker}}` and `{remove: {pid}}`. Where there is no /proc nothing is recorded.
 */
export class Leftovers {
  readonly #dir: string | undefined;
  readonly #onWarn: Warn;
  readonly #groups = new Map<number, GroupIdentity>();
  #file: { readonly path: string; readonly boot: string } | undefined;
  #deadLines = 0;
  #warned = false;

  /** @param dir created when it is missing; undefined: nothing is recorded. */
  constructor(dir: string | undefined, onWarn: Warn = () => {}) {
    this.#dir = dir;
    this.#onWarn = onWarn;
  }

  /**
   * Ends what servers that are gone have left running, and removes their files. A process whose start is not the recorded one is
   * left alone, and after a boot all are.
   */
  static async reap(dir: string, onWarn: Warn = () => {}): Promise<Reaped> {
    const boot = bootId();
    const groups = boot === undefined ? [] : filesOfTheGone(dir, onWarn).flatMap((path) => takeFile(path, boot, onWarn));
    const ends = await Promise.all(groups.map((group) => endForeignGroup(group, { graceMs, recent: false })));
    return { ended: ends.filter((end) => end.found > 0).length, left: ends.reduce((sum, end) => sum + end.left, 0) };
  }

  /** On the disk when it returns; a folder that cannot be written to is warned of once and hinders nobody. */
  add(group: GroupIdentity): void {
    if (this.#dir === undefined || group.start === undefined) return;
    this.#groups.set(group.pid, group);
    this.#write((file) => appendFileSync(file.path, line({ add: groupRecord(group) })));
  }

  remove(pid: number): void {
    if (!this.#groups.delete(pid)) return;
    this.#deadLines += 2;
    this.#write((file) => {
      if (this.#deadLines < maxDeadLines) appendFileSync(file.path, line({ remove: { pid } }));
      else this.#writeAnew(file);
    });
  }

  /** Removes the file, unless something still runs. */
  close(): void {
    const file = this.#file;
    if (file !== undefined && this.#groups.size === 0) this.#write(() => rmSync(file.path, { force: true }));
  }

  #write(how: (file: { readonly path: string; readonly boot: string }) => void): void {
    try {
      this.#file ??= this.#begin();
      if (this.#file !== undefined) how(this.#file);
    } catch (error) {
      if (this.#warned) return;
      this.#warned = true;
      this.#onWarn(
        `${this.#dir} cannot be written to (${reason(error)}): should the server be killed, the next one will not know which workers it left. Make it writable, or name another folder.`,
      );
    }
  }

  #begin(): { readonly path: string; readonly boot: string } | undefined {
    const boot = bootId();
    const start = readProcess(process.pid)?.start;
    if (this.#dir === undefined || boot === undefined || start === undefined) return undefined;
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    const path = join(this.#dir, `workers-${process.pid}-${start}.jsonl`);
    appendFileSync(path, line({ boot }), { mode: 0o600 });
    return { path, boot };
  }

  /** A server that runs for months must not fill the disk with workers that are gone. */
  #writeAnew({ path, boot }: { readonly path: string; readonly boot: string }): void {
    const lines = [{ boot }, ...[...this.#groups.values()].map((group) => ({ add: groupRecord(group) }))];
    writeFileSync(`${path}.new`, lines.map(line).join(""), { mode: 0o600 });
    renameSync(`${path}.new`, path);
    this.#deadLines = 0;
  }
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

function reason(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

/** Changes with every boot; undefined where it is not known. */
/** Which boot of the machine this is; undefined where that is not told. */
export function bootId(): string | undefined {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return undefined;
  }
}

/** The files of servers that do not run any more. */
function filesOfTheGone(dir: string, onWarn: Warn): string[] {
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch (error) {
    if (reason(error) !== "ENOENT")
      onWarn(`${dir} cannot be read (${reason(error)}): workers that a killed server left may still run.`);
    return [];
  }
  return names.flatMap((name) => {
    const [, pid, start] = fileName.exec(name) ?? [];
    if (pid === undefined) return [];
    const server = readProcess(Number(pid));
    const runs = server !== undefined && server.start === Number(start) && !server.zombie;
    return runs ? [] : [join(dir, name)];
  });
}

/** The groups of a file that belong to this boot. The file is removed. */
function takeFile(path: string, boot: string, onWarn: Warn): GroupIdentity[] {
  try {
    if (statSync(path).size > maxFileBytes) throw new Error(`larger than ${maxFileBytes} bytes`);
    const { groups, garbled, boot: ofBoot } = parse(readFileSync(path, "utf8"));
    if (garbled > 0 || ofBoot === undefined) {
      onWarn(
        `${path} is damaged: ${garbled} of its lines were not understood. Some workers of a server that was killed may still run.`,
      );
    }
    rmSync(path);
    return ofBoot === boot ? groups : [];
  } catch (error) {
    onWarn(`${path} cannot be used (${reason(error)}): workers of a server that was killed may still run. Remove it by hand.`);
    return [];
  }
}

function parse(text: string): {
  readonly boot: string | undefined;
  readonly groups: GroupIdentity[];
  readonly garbled: number;
} {
  const groups = new Map<number, GroupIdentity>();
  let boot: string | undefined;
  let garbled = 0;
  const lines = text.split("\n");
  for (const [index, text] of lines.entries()) {
    if (text === "") continue;
    try {
      const said = JSON.parse(text) as Readonly<Record<string, unknown>>;
      const group = said.add === undefined ? undefined : recordedGroup(said.add);
      const gone = (said.remove as { readonly pid?: unknown } | undefined)?.pid;
      if (typeof said.boot === "string") boot = said.boot;
      // Without its start nobody can tell whether a process is still the one that was meant.
      else if (group?.start !== undefined) groups.set(group.pid, group);
      else if (typeof gone === "number") groups.delete(gone);
      else garbled += 1;
    } catch {
      // A server that is killed while it writes leaves half a line at the end.
      if (index < lines.length - 1) garbled += 1;
    }
  }
  return { boot, groups: [...groups.values()], garbled };
}
