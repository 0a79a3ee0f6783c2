// The pretended machine: the state file, the processes that hold memory, and what that makes of each GPU's figures. Shared by the
// fake nvidia-smi and the fake job, which read it afresh each time they look.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export const statePath = process.env.FAKE_NVIDIA_SMI_STATE ?? fail("FAKE_NVIDIA_SMI_STATE is not set");
export const dir = dirname(statePath);
const procs = join(dir, "procs");

function fail(message) {
  writeFileSync(2, `${message}\n`);
  process.exit(125);
}

/** The state as the test has last set it. It is replaced by rename, so it is never half there. */
export function readState() {
  return JSON.parse(readFileSync(statePath, "utf8"));
}

function readOr(path, otherwise) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}

export function replace(path, text) {
  writeFileSync(`${path}.tmp${process.pid}`, text);
  renameSync(`${path}.tmp${process.pid}`, path);
}

function remove(path) {
  try {
    unlinkSync(path);
  } catch {
    // Somebody else was first.
  }
}

/** Start time of a running process (field 22 of its stat), "?" where that cannot be told; undefined when it does not run. */
export function startOf(pid) {
  const stat = readOr(`/proc/${pid}/stat`, "");
  if (stat === "") {
    try {
      process.kill(pid, 0);
      return "?";
    } catch {
      return undefined;
    }
  }
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}

/** When the memory of an ended process is back. Whoever first finds it ended decides, so it is never back too early. */
export function goneAt(pid, lagMs) {
  const path = join(procs, `${pid}.gone`);
  const known = readOr(path, "");
  if (known !== "") return Number(known);
  const at = Date.now() + lagMs;
  try {
    mkdirSync(procs, { recursive: true });
    writeFileSync(path, `${at}`, { flag: "wx" });
    return at;
  } catch {
    return Number(readOr(path, `${at}`)) || at;
  }
}

/**
 * Who holds memory: `listed` are running, `lingering` have ended and their memory is not back yet.
 * A process is { pid, gpuUuid, usedMb, name, foreign?, gi?, ci? }; a foreign one belongs to another PID namespace and always runs.
 */
export function holders(state) {
  const lag = state.releaseLagMs ?? 0;
  const listed = [];
  const lingering = [];
  const sort = (entries, runs, file) => {
    if (runs) listed.push(...entries);
    else if (lag > 0 || file) {
      const pid = entries[0]?.pid;
      if (pid === undefined) return;
      if (Date.now() < goneAt(pid, lag)) lingering.push(...entries);
      else if (file) remove(file);
    }
  };
  for (const entry of state.processes ?? []) sort([entry], entry.foreign === true || startOf(entry.pid) !== undefined);
  let files = [];
  try {
    files = readdirSync(procs).filter((name) => /^\d+\.json$/.test(name));
  } catch {
    // No job has ever run.
  }
  for (const name of files) {
    const path = join(procs, name);
    const text = readOr(path, "");
    if (text === "") continue;
    const job = JSON.parse(text);
    sort([{ pid: job.pid, gpuUuid: job.gpuUuid, usedMb: job.usedMb, name: job.name }], startOf(job.pid) === job.start, path);
  }
  return { listed, lingering };
}

/** { total, reserved, used, free } of a GPU, in MiB. */
export function memoryOf(gpu, { listed, lingering }) {
  const total = gpu.totalMb ?? 24564;
  const reserved = gpu.reservedMb ?? 346;
  let used = gpu.usedMb ?? 0;
  for (const process of [...listed, ...lingering]) if (process.gpuUuid === gpu.uuid) used += process.usedMb ?? 0;
  for (const device of gpu.mig?.devices ?? []) used += device.usedMb ?? 0;
  return { total, reserved, used, free: Math.max(0, total - reserved - used) };
}

/** Registers what the calling job holds. */
export function register(job) {
  mkdirSync(procs, { recursive: true });
  remove(join(procs, `${job.pid}.gone`));
  replace(join(procs, `${job.pid}.json`), JSON.stringify(job));
}

/** Runs `work` while no other job does. A lock whose holder has died is broken after 2 s. */
export async function locked(work) {
  const lock = join(dir, "lock");
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      try {
        if (Date.now() - statSync(lock).mtimeMs > 2000) rmdirSync(lock);
      } catch {
        // It was given back meanwhile.
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  try {
    return work();
  } finally {
    rmdirSync(lock);
  }
}
