#!/usr/bin/env node
// Behaves like nvidia-smi's front-end towards a program: arguments, columns, CSV dialect, loop mode, exit codes, and every
// sentence on stdout. What it tells comes from the state file (see fake.ts), read again for each round.
import { appendFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { dir, holders, memoryOf, readState } from "./machine.mjs";

const args = process.argv.slice(2);
const initial = readState();
appendFileSync(join(dir, "calls.log"), `${JSON.stringify({ pid: process.pid, t: Date.now(), args })}\n`);

const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.exit(1);
}, 200).unref();
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    if (!readState().ignoreTerm) process.exit(0);
  });
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function write(data) {
  let bytes = Buffer.from(data);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      if (error.code === "EPIPE") process.exit(141);
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

function die(code, text) {
  write(`${text}\n`);
  process.exit(code);
}

const sentences = {
  4: "Failed to initialize NVML: Insufficient Permissions",
  6: "No devices were found",
  9: "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n",
  12: "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display Driver is properly installed and present in your system.\nPlease also try adding directory that contains libnvidia-ml.so to your system PATH.",
  15: "Failed to initialize NVML: GPU is lost",
  17: "Failed to initialize NVML: GPU access blocked by the operating system",
  18: "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.163",
  255: "Failed to initialize NVML: Unknown Error",
};

/** Blocks while the state says so. */
async function call(state) {
  const end = Date.now() + (state.hangMs ?? 0);
  while (readState().hang || Date.now() < end) await sleep(20);
}

async function flood(bytes) {
  const block = Buffer.alloc(65536, "2026/01/01 00:00:00.000, 1, 0, GPU-flood ");
  for (let sent = 0; sent < bytes; sent += block.length) {
    write(block);
    if (sent % (block.length * 64) === 0) await sleep(0);
  }
}

function option(name) {
  for (let at = 0; at < args.length; at++) {
    if (args[at] === name) return args[at + 1];
    if (args[at].startsWith(`${name}=`)) return args[at].slice(name.length + 1);
  }
  return undefined;
}

const pciOf = (gpu, index) => gpu.pciBusId ?? `00000000:${(index + 1).toString(16).toUpperCase().padStart(2, "0")}:00.0`;
const shortPci = (gpu, index) => pciOf(gpu, index).slice(4);
const unopened = { lost: [15, "GPU is lost.  Reboot the system to recover this GPU"], dead: [255, "Unknown Error"] };

/** The GPUs that this run opens, or the end of it: one that cannot be opened spoils the answer for all that are asked. */
function open(state) {
  const all = (state.gpus ?? []).map((gpu, index) => ({ index, uuid: gpu.uuid }));
  if (all.length === 0) die(6, "No devices were found");
  const wanted = option("-i")?.split(",");
  const byUuid = wanted?.some((entry) => entry.startsWith("GPU-")) ?? false;
  const asked = wanted ? all.filter(({ index, uuid }) => wanted.includes(`${index}`) || wanted.includes(uuid)) : all;
  if (asked.length === 0) die(6, "No devices were found");
  for (const { index } of byUuid ? all : asked) {
    const gpu = state.gpus[index];
    const error = unopened[gpu.health];
    if (!error) continue;
    if (byUuid) die(255, `Problem with GPU ${shortPci(gpu, index)}: ${error[1]}\n\n`);
    die(error[0], `Unable to determine the device handle for GPU${shortPci(gpu, index)}: ${error[1]}\n\n`);
  }
  return asked.filter(({ index }) => !["hidden", "silent"].includes(state.gpus[index].health));
}

const cellWords = {
  lost: "[GPU is lost]",
  dead: "[GPU is lost]",
  reset: "[GPU requires reset]",
  noperm: "[Insufficient Permissions]",
  nomem: "[N/A]",
};
const two = (n) => `${n}`.padStart(2, "0");

/** As strftime does it, in the zone of the environment. */
function stamp(skewMs) {
  const now = new Date(Date.now() + skewMs);
  const day = `${now.getFullYear()}/${two(now.getMonth() + 1)}/${two(now.getDate())}`;
  return `${day} ${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}.${`${now.getMilliseconds()}`.padStart(3, "0")}`;
}

const gpuFields = {
  timestamp: [({ state }) => stamp(state.clockSkewMs ?? 0)],
  count: [({ state }) => state.gpus.length],
  index: [({ index }) => index],
  uuid: [({ gpu }) => gpu.uuid],
  name: [({ gpu }) => gpu.name ?? "NVIDIA GeForce RTX 4090"],
  "pci.bus_id": [({ gpu, index }) => pciOf(gpu, index)],
  driver_version: [({ state }) => state.driver ?? "550.163.01"],
  "memory.total": [({ memory }) => memory.total, "MiB"],
  "memory.reserved": [({ memory }) => memory.reserved, "MiB"],
  "memory.used": [({ memory }) => memory.used, "MiB"],
  "memory.free": [({ memory }) => memory.free, "MiB"],
  "utilization.gpu": [({ gpu }) => (gpu.mig ? "[N/A]" : (gpu.load ?? 0)), "%"],
  "temperature.gpu": [({ gpu }) => gpu.temperature ?? 41],
  "power.draw": [({ gpu }) => (gpu.power ?? 38.5).toFixed(2), "W"],
  compute_mode: [({ gpu }) => gpu.computeMode ?? "Default"],
  "mig.mode.current": [({ gpu }) => (gpu.mig ? "Enabled" : (gpu.migMode ?? "[N/A]"))],
  "mig.mode.pending": [({ gpu }) => gpu.migPending ?? (gpu.mig ? "Enabled" : (gpu.migMode ?? "[N/A]"))],
};

function gpuCell(field, context, unit) {
  const { gpu } = context;
  const memory = field.startsWith("memory.");
  if (["lost", "dead", "reset"].includes(gpu.health) && !["timestamp", "count", "driver_version"].includes(field))
    return cellWords[gpu.health];
  if (memory && ["noperm", "nomem"].includes(gpu.health)) return cellWords[gpu.health];
  if (gpu.health === "broken") {
    if (["name", "temperature.gpu", "power.draw"].includes(field)) return "ERR!";
    if (field === "memory.used") return unit ? "0 MiB" : "0";
  }
  const [value, suffix] = gpuFields[field];
  const text = `${value(context)}`.replaceAll(",", "?");
  return unit && suffix && !text.startsWith("[") ? `${text} ${suffix}` : text;
}

function format() {
  const words = option("--format")?.split(",");
  if (!words) die(2, `"--format=" switch is missing. Please run 'nvidia-smi -h' for help.\n`);
  if (!words.includes("csv")) die(2, 'Unsupported format. Only "csv" can be used.\n');
  return { header: !words.includes("noheader"), units: !words.includes("nounits") };
}

function columnsOf(list, table) {
  const columns = list.split(",").map((column) => column.trim());
  for (const column of columns) {
    if (!Object.hasOwn(table, column) || (initial.unknownFields ?? []).includes(column))
      die(2, `Field "${column}" is not a valid field to query.\n`);
  }
  return columns;
}

async function queryGpu(list) {
  const { header, units } = format();
  const columns = columnsOf(list, gpuFields);
  const opened = open(initial);
  const loop = option("-lms") ?? (option("-l") === undefined ? undefined : `${1000 * Number(option("-l"))}`);
  if (loop !== undefined && !(Number(loop) > 0))
    die(2, "Provided [-l(ms) | --loop(-ms)=] value is incorrect. Loop frequency must be greater than 0.\n");
  if (header)
    write(
      `${columns.map((column) => (units && gpuFields[column][1] ? `${column} [${gpuFields[column][1]}]` : column)).join(", ")}\n`,
    );
  for (let round = 0; ; round++) {
    const state = readState();
    if (loop !== undefined) await disturb(state, round);
    for (const { index } of opened) {
      const gpu = state.gpus[index] ?? { ...initial.gpus[index], health: "lost" };
      if (gpu.health === "silent") continue;
      const begun = stamp(state.clockSkewMs ?? 0);
      await call(state);
      if (state.delayMs) await sleep(state.delayMs);
      const context = { state, gpu, index, memory: memoryOf(gpu, holders(state)) };
      const cells = columns.map((column) => (column === "timestamp" ? begun : gpuCell(column, context, units)));
      const line = cells.join(", ");
      write(state.truncate ? line.slice(0, -12) : `${line}\n`);
    }
    if (loop === undefined) return;
    if (state.logRounds)
      appendFileSync(join(dir, "rounds.log"), `${JSON.stringify({ t: performance.timeOrigin + performance.now() })}\n`);
    await sleep(Number(loop));
  }
}

/** What can go wrong with a run that has begun. */
async function disturb(state, round) {
  if (state.flood) await flood(state.flood === true ? 2 ** 30 : state.flood);
  if (state.garbage)
    for (let line = 0; line < 20; line++)
      write(Buffer.from(`\u0000\u0007 Xid ${round}.${line}, \xff\xfe, [[[, -1, 99999999999999\n`, "latin1"));
  if (state.loopExit && round >= (state.loopExit.afterRounds ?? 0)) {
    if (state.loopExit.signal) process.kill(process.pid, state.loopExit.signal);
    process.exit(state.loopExit.code ?? 0);
  }
}

const appFields = {
  timestamp: [() => stamp(0)],
  gpu_uuid: [({ gpu }) => gpu.uuid],
  gpu_name: [({ gpu }) => gpu.name ?? "NVIDIA GeForce RTX 4090"],
  pid: [({ process }) => process.pid],
  process_name: [({ process }) => (process.foreign ? "[Not Found]" : (process.name ?? "job"))],
  name: [({ process }) => (process.foreign ? "[Not Found]" : (process.name ?? "job"))],
  used_memory: [({ process }) => process.usedMb ?? "[N/A]", "MiB"],
  used_gpu_memory: [({ process }) => process.usedMb ?? "[N/A]", "MiB"],
};

async function queryApps(list) {
  const { header, units } = format();
  const columns = columnsOf(list, appFields);
  const opened = open(initial);
  if (header) write(`${columns.join(", ")}\n`);
  await call(initial);
  const { listed } = holders(initial);
  for (const { index } of opened) {
    const gpu = initial.gpus[index];
    const rows = gpu.health === "noperm" ? [undefined] : listed.filter((process) => process.gpuUuid === gpu.uuid);
    for (const process of rows) {
      const cells = columns.map((column) => {
        if (process === undefined && !column.startsWith("gpu_") && column !== "timestamp") return cellWords.noperm;
        const [value, suffix] = appFields[column];
        const text = `${value({ gpu, process })}`.replaceAll(",", "?");
        return units && suffix && !text.startsWith("[") ? `${text} ${suffix}` : text;
      });
      write(`${cells.join(", ")}\n`);
    }
  }
}

function list() {
  let code = 0;
  if ((initial.gpus ?? []).length === 0) die(0, "No devices found.");
  for (const [index, gpu] of initial.gpus.entries()) {
    const error =
      unopened[gpu.health] ?? (["hidden", "silent"].includes(gpu.health) ? [4, "Insufficient Permissions"] : undefined);
    if (error) {
      code = error[0];
      write(`Unable to determine the device handle for gpu ${shortPci(gpu, index)}: ${error[1]}\n\n\n`);
      continue;
    }
    write(`GPU ${index}: ${gpu.name ?? "NVIDIA GeForce RTX 4090"} (UUID: ${gpu.uuid})\n`);
    for (const [at, device] of (gpu.mig?.devices ?? []).entries()) {
      write(`  MIG ${device.profile.padEnd(11)} Device ${`${at}`.padStart(2)}: (UUID: ${device.uuid})\n`);
    }
  }
  process.exit(code);
}

const escapeXml = (text) => `${text}`.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const fb = ({ total, reserved, used, free }) =>
  `<fb_memory_usage><total>${total}</total><reserved>${reserved}</reserved><used>${used}</used><free>${free}</free></fb_memory_usage>`;

function xml() {
  const opened = open(initial);
  const held = holders(initial);
  const mib = (n) => `${n} MiB`;
  const gpus = opened.map(({ index }) => {
    const gpu = initial.gpus[index];
    const figures = memoryOf(gpu, held);
    const hideTotals = ["nomem", "noperm", "reset"].includes(gpu.health);
    const shown = Object.fromEntries(Object.entries(figures).map(([key, value]) => [key, hideTotals ? "N/A" : mib(value)]));
    const devices = (gpu.mig?.devices ?? []).map((device, at) => {
      const own = held.listed.filter((process) => process.gpuUuid === gpu.uuid && process.gi === device.gi);
      const used = (device.usedMb ?? 0) + own.reduce((sum, process) => sum + (process.usedMb ?? 0), 0);
      const memory = fb({ total: mib(device.totalMb), reserved: mib(0), used: mib(used), free: mib(device.totalMb - used) });
      return `<mig_device><index>${at}</index><gpu_instance_id>${device.gi}</gpu_instance_id><compute_instance_id>${device.ci ?? 0}</compute_instance_id>${memory}</mig_device>`;
    });
    const processes = held.listed
      .filter((process) => process.gpuUuid === gpu.uuid)
      .map(
        (process) =>
          `<process_info><gpu_instance_id>${process.gi ?? "N/A"}</gpu_instance_id><compute_instance_id>${process.ci ?? "N/A"}</compute_instance_id>` +
          `<pid>${process.pid}</pid><type>C</type><process_name>${escapeXml(process.foreign ? "[Not Found]" : (process.name ?? "job"))}</process_name>` +
          `<used_memory>${process.usedMb === undefined ? "N/A" : mib(process.usedMb)}</used_memory></process_info>`,
      );
    return (
      `<gpu id="${pciOf(gpu, index)}"><product_name>${escapeXml(gpu.name ?? "NVIDIA GeForce RTX 4090")}</product_name>` +
      `<addressing_mode>${gpu.addressingMode ?? "N/A"}</addressing_mode>` +
      `<mig_mode><current_mig>${gpu.mig ? "Enabled" : "N/A"}</current_mig><pending_mig>${gpu.migPending ?? (gpu.mig ? "Enabled" : "N/A")}</pending_mig></mig_mode>` +
      `<mig_devices>${devices.length > 0 ? devices.join("") : "None"}</mig_devices><uuid>${gpu.uuid}</uuid>${fb(shown)}` +
      `<compute_mode>${gpu.computeMode ?? "Default"}</compute_mode><temperature><gpu_temp>${gpu.temperature ?? 41} C</gpu_temp></temperature>` +
      `<processes>${processes.join("")}</processes></gpu>`
    );
  });
  const text = `<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n<nvidia_smi_log><driver_version>${initial.driver ?? "550.163.01"}</driver_version>\n${gpus.join("\n")}\n</nvidia_smi_log>\n`;
  write(initial.truncate ? text.slice(0, text.length / 2) : text);
}

if (initial.fail !== undefined) {
  const { code, text } = typeof initial.fail === "number" ? { code: initial.fail } : initial.fail;
  die(code, text ?? sentences[code] ?? "Unable to determine the number of GPUs");
}
const query = option("--query-gpu");
const apps = option("--query-compute-apps");
if (query !== undefined && apps !== undefined) die(2, "Only one --query-* switch can be used at a time.");
if (initial.startDelayMs) await sleep(initial.startDelayMs);
// The rows of a loop look at these by themselves, so that a run which has begun is disturbed too.
if (option("-lms") === undefined) {
  await call(initial);
  if (!initial.loopExit) await disturb(initial, 0);
}
if (query !== undefined) await queryGpu(query);
else if (apps !== undefined) await queryApps(apps);
else if (args.includes("-L")) list();
else if (args.includes("-q") && args.includes("-x")) xml();
else die(255, `ERROR: Option ${args[0]} is not recognized. Please run 'nvidia-smi -h'.\n`);
process.exit(0);
