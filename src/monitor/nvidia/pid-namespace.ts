import { readlinkSync } from "node:fs";

/** The number that Linux gives to its first PID namespace, in every kernel (PROC_PID_INIT_INO). */
const first = "pid:[4026531836]";

/** True when this process sees the machine's pids as the driver does. False also where it cannot be told. */
export function inHostPidNamespace(): boolean {
  try {
    return readlinkSync("/proc/self/ns/pid") === first;
  } catch {
    return false;
  }
}
