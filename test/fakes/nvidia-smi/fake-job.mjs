#!/usr/bin/env node
// Behaves like a CUDA job towards GPU memory on the pretended machine (see fake.ts): takes memory step by step on the first GPU of
// CUDA_VISIBLE_DEVICES, holds it, and dies of "CUDA out of memory" (exit 77) when a step does not fit.
//
//   fake-job --mib N --seconds S [--ramp-seconds R] [--ignore-term]
//
// Exit: 0 done | 77 out of memory | 78 no usable GPU | death by SIGTERM. Writes oom.log and jobs.log (JSON lines, times in ms since 1970)
// beside the state file.
import { appendFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { dir, goneAt, holders, locked, memoryOf, readState, register, startOf } from "./machine.mjs";

const { values } = parseArgs({
  options: {
    mib: { type: "string", default: "1024" },
    seconds: { type: "string", default: "5" },
    "ramp-seconds": { type: "string", default: "0" },
    "ignore-term": { type: "boolean", default: false },
  },
});
const mib = Number(values.mib);
const rampMs = 1000 * Number(values["ramp-seconds"]);
const pid = process.pid;
const start = startOf(pid);
let held = 0;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const log = (file, record) => appendFileSync(join(dir, file), `${JSON.stringify({ t: Date.now(), pid, ...record })}\n`);

function end(reason, code) {
  if (held > 0) goneAt(pid, readState().releaseLagMs ?? 0);
  log("jobs.log", { event: "end", reason, code, heldMb: held });
}

function quit(reason, code, message) {
  if (message) writeSync(2, `${message}\n`);
  end(reason, code);
  process.exit(code);
}

process.on("SIGTERM", () => {
  if (values["ignore-term"]) return;
  end("signal");
  process.removeAllListeners("SIGTERM");
  process.kill(pid, "SIGTERM");
});

/** The first visible GPU; like CUDA, an entry that names none hides everything after it. */
function chooseGpu() {
  const { gpus = [] } = readState();
  const wanted = process.env.CUDA_VISIBLE_DEVICES;
  const entry = wanted?.split(",")[0]?.trim();
  const devices = gpus.flatMap((gpu) => [gpu.uuid, ...(gpu.mig?.devices ?? []).map((device) => device.uuid)]);
  if (wanted === undefined) return gpus[0]?.uuid;
  if (/^\d+$/.test(entry)) return gpus[Number(entry)]?.uuid;
  return entry && devices.find((uuid) => uuid.startsWith(entry));
}

function grow(gpuUuid, target) {
  const state = readState();
  const gpu = state.gpus?.find((candidate) => candidate.uuid === gpuUuid);
  if (!gpu || (gpu.health !== undefined && gpu.health !== "ok")) quit("gpu-lost", 78, "CUDA error: no usable device");
  const { free, used, total } = memoryOf(gpu, holders(state));
  const step = target - held;
  if (step > free) {
    log("oom.log", { gpu: gpuUuid, wantedMb: step, heldMb: held, freeMb: free, totalMb: total });
    quit("oom", 77, `CUDA out of memory. Tried to allocate ${step} MiB on ${gpuUuid}: ${free} MiB of ${total} MiB are free.`);
  }
  held = target;
  register({ pid, start, gpuUuid, usedMb: held, name: "fake-job" });
  log("jobs.log", { event: "grow", gpu: gpuUuid, heldMb: held, gpuUsedMb: used + step });
}

const gpuUuid = chooseGpu();
log("jobs.log", { event: "start", mib, gpu: gpuUuid });
if (!gpuUuid) quit("no-gpu", 78, "CUDA error: no CUDA-capable device is detected");
const steps = Math.max(1, Math.round(rampMs / 100));
for (let step = 1; step <= steps; step++) {
  if (mib > 0) await locked(() => grow(gpuUuid, Math.round((mib * step) / steps)));
  if (step < steps) await sleep(100);
}
log("jobs.log", { event: "ready", gpu: gpuUuid, heldMb: held });
await sleep(1000 * Number(values.seconds));
quit("done", 0);
