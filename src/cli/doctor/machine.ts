import { type Check, fail, ok, warn } from "./check.ts";
import type { Probes } from "./probes.ts";

/** The waiters that the queue takes by default, each of which may have a connection. */
const waiters = 10_000;
/** Files that the server has open besides. */
const otherFiles = 200;

/** Whether this Node is one that sluice runs on. */
export function checkNode(probes: Probes): Check {
  const [major = 0, minor = 0] = probes.nodeVersion.replace(/^v/, "").split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return ok("Node.js", `Version ${probes.nodeVersion}.`);
  return fail("Node.js", `Version ${probes.nodeVersion} is too old.`, "Install Node.js 20.19 or newer; 22 and 24 are fine.");
}

/** Whether this user may use the GPUs. */
export function checkDevices(probes: Probes): readonly Check[] {
  const files = probes.deviceFiles();
  if (files.length === 0) return [];
  const closed = files.filter((file) => !file.usable).map((file) => file.path);
  if (closed.length === 0) return [ok("permissions", `This user may use ${files.map((file) => file.path).join(", ")}.`)];
  return [
    fail(
      "permissions",
      `This user may not read and write ${closed.join(", ")}, so neither nvidia-smi nor jobs can use the GPU.`,
      "Add the user to the group that owns these files (often video or render), or look for NVreg_DeviceFileMode in /etc/modprobe.d.",
    ),
  ];
}

/** Whether the pids that the driver tells mean anything here. */
export function checkPidNamespace(probes: Probes): readonly Check[] {
  const own = probes.readText("/proc/self/status");
  if (own === undefined) return [];
  const nested = (/^NSpid:\s*(.*)$/m.exec(own)?.[1] ?? "").trim().split(/\s+/).length > 1;
  const container = probes.exists("/.dockerenv") || probes.exists("/run/.containerenv");
  const where = container ? "in a container" : "on the machine itself";
  if (probes.inHostPidNamespace() && !nested)
    return [ok("process ids", `sluice runs ${where} and sees the same process ids as the GPU driver.`)];
  return [
    warn(
      "process ids",
      "sluice runs in a PID namespace of its own (a container), so the process ids that the GPU driver tells mean nothing here: memory cannot be attributed to leases, and is estimated from what grew since each grant.",
      "Start the container with --pid=host (Kubernetes: hostPID: true) for exact figures.",
    ),
  ];
}

/** How much host memory there is for this process and what it starts. */
export async function checkMemory(probes: Probes): Promise<readonly Check[]> {
  const kib = /^MemTotal:\s*(\d+) kB$/m.exec(probes.readText("/proc/meminfo") ?? "")?.[1];
  if (kib === undefined) return [];
  const totalMb = Math.floor(Number(kib) / 1024);
  const { limitMb, availableMb } = await probes.cgroup();
  if (limitMb === undefined || limitMb >= totalMb) return [ok("host memory", `${totalMb} MiB, with no tighter cgroup limit.`)];
  if (availableMb === undefined) {
    return [
      warn(
        "host memory",
        `A cgroup limits memory to ${limitMb} MiB, but how much of that is used cannot be read.`,
        "Mount /sys/fs/cgroup into the container; until then requests for host memory wait.",
      ),
    ];
  }
  return [
    warn(
      "host memory",
      `A cgroup limits memory to ${limitMb} of the machine's ${totalMb} MiB; ${availableMb} MiB of that are left. Only that is given out.`,
      "If jobs run outside of this cgroup, or should have more, raise the limit (MemoryMax=, --memory).",
    ),
  ];
}

/** Whether as many clients can wait as the queue takes. */
export function checkOpenFiles(probes: Probes): readonly Check[] {
  // Node raises its own soft limit to the hard one when it starts.
  const limits = /^Max open files\s+(\S+)\s+(\S+)/m.exec(probes.readText("/proc/self/limits") ?? "");
  if (limits === null) return [];
  const limit = limits[2] === "unlimited" ? Number.POSITIVE_INFINITY : Number(limits[2]);
  if (limit >= waiters + otherFiles)
    return [ok("open files", `The limit is ${limits[2]}, enough for ${waiters} clients that wait.`)];
  return [
    warn(
      "open files",
      `The limit is ${limits[2]}, so only about ${Math.max(0, limit - otherFiles)} clients can wait at the same time.`,
      "Raise it: LimitNOFILE= in the service unit, or `ulimit -Hn`.",
    ),
  ];
}
