import { readFile } from "node:fs/promises";
import { join, posix } from "node:path";
import type { Mib } from "../engine/sample.ts";

/** What the cgroups around this process allow. */
export interface CgroupMemory {
  /** The tightest limit, rounded down; absent when nothing limits memory. */
  readonly limitMb?: Mib;
  /**
   * The least that is left below any limit: limit − (usage − inactive file cache), rounded down. Absent when nothing limits
   * memory, and also when something does but its usage cannot be read: look at `limitMb` to tell the two apart.
   */
  readonly availableMb?: Mib;
}

/** Where this process is in one hierarchy: `version` 1 is the memory controller of cgroup v1, 2 is the unified hierarchy. */
export interface CgroupMembership {
  readonly version: 1 | 2;
  readonly path: string;
}

/** Where a hierarchy is mounted, and which of its directories is the top of the mount. */
export interface CgroupMount {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  readonly top: string;
}

const mib = 1024 * 1024;

/** cgroup v1 writes "no limit" as the largest count of pages; no machine has 8 PiB of memory, and 2^53 is where numbers end. */
const unlimitedBytes = 2 ** 53;

/** The memory files of one directory; each undefined when it cannot be read. */
interface Level {
  readonly limits: readonly (number | undefined)[];
  readonly usage: number | undefined;
  readonly inactiveFile: number | undefined;
}

/**
 * Reads the memory limits that cgroups v1, v2, or a mixture of both, set for this process. Rounds so that it never promises
 * more than there is. Never rejects: what cannot be read is absent.
 */
export class CgroupReader {
  private readonly root: string;
  private mounts: readonly CgroupMount[] | undefined;

  /** @param root what stands for `/`; /proc and /sys are looked for below it. */
  constructor(root = "/") {
    this.root = root;
  }

  async read(): Promise<CgroupMemory> {
    const memberships = await this.memberships();
    const results = await Promise.all(([1, 2] as const).map((version) => this.readHierarchy(version, memberships)));
    return tightest(results);
  }

  /**
   * How many processes of this one's cgroup the kernel has ended for lack of memory (`oom_kill` of memory.events, or of
   * memory.oom_control in v1); undefined where it does not say. Never rejects.
   */
  async oomKills(): Promise<number | undefined> {
    const memberships = await this.memberships();
    for (const [version, file] of [[2, "memory.events"] as const, [1, "memory.oom_control"] as const]) {
      const path = memberships.find((m) => m.version === version)?.path ?? "/";
      for (const dir of directoriesUpwards(chooseMount(version, path, this.mounts ?? []), path)) {
        const kills = parseStatField(await this.text(posix.join(dir, file)), "oom_kill");
        if (kills !== undefined) return kills;
      }
    }
    return undefined;
  }

  private async memberships(): Promise<readonly CgroupMembership[]> {
    if (!this.mounts) {
      const mountinfo = await this.text("/proc/self/mountinfo");
      if (mountinfo !== undefined) this.mounts = parseCgroupMounts(mountinfo);
    }
    // Read each time: a service manager may move a running process.
    return parseCgroupMemberships((await this.text("/proc/self/cgroup")) ?? "");
  }

  /** A memory controller lives in one hierarchy only; in the other one the files are missing, and so is a limit. */
  private async readHierarchy(version: 1 | 2, memberships: readonly CgroupMembership[]): Promise<CgroupMemory> {
    const path = memberships.find((m) => m.version === version)?.path ?? "/";
    const mount = chooseMount(version, path, this.mounts ?? []);
    const levels = await Promise.all(
      directoriesUpwards(mount, path).map((dir) => (version === 2 ? this.levelV2(dir) : this.levelV1(dir))),
    );
    return tightest(levels.map(levelMemory));
  }

  private async levelV2(dir: string): Promise<Level> {
    const [max, high, current, stat] = await this.files(dir, ["memory.max", "memory.high", "memory.current", "memory.stat"]);
    return {
      // Above memory.high the kernel stalls the processes instead of ending them; work that is stalled for ever is no better.
      limits: [parseBytes(max), parseBytes(high)],
      usage: parseBytes(current),
      inactiveFile: parseStatField(stat, "inactive_file"),
    };
  }

  private async levelV1(dir: string): Promise<Level> {
    const names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"];
    const [limit, usage, stat] = await this.files(dir, names);
    return {
      // The second is set by ancestors, which may be out of sight in a container.
      limits: [parseBytes(limit), parseStatField(stat, "hierarchical_memory_limit")],
      usage: parseBytes(usage),
      inactiveFile: parseStatField(stat, "total_inactive_file"),
    };
  }

  private files(dir: string, names: readonly string[]): Promise<(string | undefined)[]> {
    return Promise.all(names.map((name) => this.text(posix.join(dir, name))));
  }

  private async text(path: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.root, path), "utf8");
    } catch {
      return undefined;
    }
  }
}

/** A number of bytes; undefined for `max`, for the "no limit" of v1, and for anything that is not a whole number. */
export function parseBytes(text: string | undefined): number | undefined {
  const trimmed = text?.trim() ?? "";
  if (!/^\d{1,20}$/.test(trimmed)) return undefined;
  const bytes = Number(trimmed);
  return bytes < unlimitedBytes ? bytes : undefined;
}

/** One `name value` line of memory.stat, in bytes. */
export function parseStatField(text: string | undefined, name: string): number | undefined {
  const line = text?.split("\n").find((l) => l.startsWith(`${name} `));
  return parseBytes(line?.slice(name.length + 1));
}

/** Reads /proc/self/cgroup: the unified hierarchy (`0::/path`) and the v1 hierarchy that has the memory controller. */
export function parseCgroupMemberships(text: string): CgroupMembership[] {
  const found: CgroupMembership[] = [];
  for (const line of text.split("\n")) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (!match) continue;
    const [, id, controllers = "", path = "/"] = match;
    if (id === "0" && controllers === "") found.push({ version: 2, path });
    else if (controllers.split(",").includes("memory")) found.push({ version: 1, path });
  }
  return found;
}

/** Reads /proc/self/mountinfo: where cgroup2, and the memory controller of v1, are mounted. */
export function parseCgroupMounts(text: string): CgroupMount[] {
  const found: CgroupMount[] = [];
  for (const line of text.split("\n")) {
    const [left = "", right] = line.split(" - ", 2);
    const [, , , top, mountPoint] = left.split(" ");
    const [type, , superOptions = ""] = (right ?? "").split(" ");
    if (top === undefined || mountPoint === undefined || !mountPoint.startsWith("/")) continue;
    const place = { mountPoint: unescapeOctal(mountPoint), top: unescapeOctal(top) };
    if (type === "cgroup2") found.push({ version: 2, ...place });
    else if (type === "cgroup" && superOptions.split(",").includes("memory")) found.push({ version: 1, ...place });
  }
  return found;
}

/** mountinfo writes blanks, tabs, newlines and backslashes in names as three octal digits. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** The mount through which most of the levels above this process can be seen. */
function chooseMount(version: 1 | 2, path: string, mounts: readonly CgroupMount[]): CgroupMount {
  const candidates = mounts.filter((m) => m.version === version);
  const seesUs = candidates.filter((m) => below(path, m.top) !== undefined).sort((a, b) => a.top.length - b.top.length);
  const usual = { version, mountPoint: version === 2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory", top: "/" };
  return seesUs[0] ?? candidates[0] ?? usual;
}

/** `path` relative to `top`, as "/…"; undefined when it is not below it. */
function below(path: string, top: string): string | undefined {
  if (top === "/") return path;
  if (path === top) return "/";
  return path.startsWith(`${top}/`) ? path.slice(top.length) : undefined;
}

/**
 * The directory of `path` and every one above it up to the top of the mount. In a container the path may be one of the host
 * that is not visible here; then the deepest directories are missing, which reads as "no limit there", and the top of the
 * mount, which is the container's own cgroup, still counts.
 */
function directoriesUpwards(mount: CgroupMount, path: string): string[] {
  const parts = (below(path, mount.top) ?? "/").split("/").filter((part) => part !== "" && part !== ".");
  // A path with `..` is outside of what this namespace shows; a cgroup of that name in here is another one.
  if (parts.includes("..")) return [mount.mountPoint];
  const directories = [mount.mountPoint];
  for (const part of parts.slice(0, 256)) directories.push(posix.join(directories.at(-1) ?? mount.mountPoint, part));
  return directories.reverse();
}

function levelMemory(level: Level): CgroupMemory {
  const limits = level.limits.filter((l) => l !== undefined);
  if (limits.length === 0) return {};
  const limitMb = Math.floor(Math.min(...limits) / mib);
  if (level.usage === undefined) return { limitMb };
  const workingSetMb = Math.ceil(Math.max(0, level.usage - (level.inactiveFile ?? 0)) / mib);
  return { limitMb, availableMb: Math.max(0, limitMb - workingSetMb) };
}

/** A level whose limit is known and whose usage is not makes the whole answer unknown: it might be the tightest one. */
function tightest(levels: readonly CgroupMemory[]): CgroupMemory {
  const limited = levels.filter((l) => l.limitMb !== undefined);
  if (limited.length === 0) return {};
  const limitMb = Math.min(...limited.map((l) => l.limitMb ?? Number.POSITIVE_INFINITY));
  const available = limited.map((l) => l.availableMb).filter((a) => a !== undefined);
  return available.length < limited.length ? { limitMb } : { limitMb, availableMb: Math.min(...available) };
}
