import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { childrenOf } from "./machine.ts";

/** Memory of a process that is in RAM now, in MiB. */
export function rssMb(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
  return Number(kib) / 1024;
}

/** How many file descriptors a process has open. */
export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** How many of them are sockets. */
export function openSockets(pid: number): number {
  return readlinks(pid).filter((target) => target.startsWith("socket:")).length;
}

/** Children that have ended and that nobody has asked about. */
export function zombiesOf(pid: number): readonly number[] {
  return childrenOf(pid).filter((child) => stateOf(child) === "Z");
}

/** The state letter of a process as /proc shows it; empty when there is none. */
export function stateOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
  } catch {
    return "";
  }
}

function readlinks(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return "";
    }
  });
}
