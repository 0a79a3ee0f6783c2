import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { Guardian } from "../../src/executor/guardian.ts";
import { readProcess, readProcesses } from "../../src/executor/process-tree.ts";
import { waitFor } from "../wait-for.ts";
import { node, running } from "./house.ts";

const linux = process.platform === "linux";
const entry = fileURLToPath(new URL("../../dist/executor/guardian-main.js", import.meta.url));
const server = fileURLToPath(new URL("../fakes/worker/server.mjs", import.meta.url));

let folder: string;
const guardians: Guardian[] = [];
/** Pids that a test has seen; ended after it, should the guardian have failed. */
const pids: number[] = [];
beforeAll(() => {
  if (!existsSync(entry))
    throw new Error(`${entry} is missing: run "npm run build" first; the guardian is a program of its own`);
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-guardian-"));
});
afterEach(async () => {
  for (const pid of pids.splice(0)) if (running(pid)) process.kill(pid, "SIGKILL");
  await Promise.all(guardians.splice(0).map((g) => g.close()));
  rmSync(folder, { recursive: true, force: true });
});

function guardian(): Guardian {
  const made = new Guardian({ entry });
  guardians.push(made);
  return made;
}

/** A process group that stays, deaf to SIGTERM. */
async function group(name: string): Promise<{ pid: number; start: number; marker: string }> {
  // Another run of these tests may be under way.
  const id = `${name}-${process.pid}`;
  const code = 'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000)';
  const child = spawn(node, ["-e", code], {
    detached: true,
    stdio: ["ignore", "pipe", "ignore"],
    env: { SLUICE_LEASE_ID: id },
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const pid = child.pid as number;
  pids.push(pid);
  return { pid, start: readProcess(pid)?.start as number, marker: `SLUICE_LEASE_ID=${id}` };
}

/** The server of test/fakes/worker with such workers, once all of them run. */
async function startServer(options: object): Promise<{ child: ChildProcess; workers: number[]; guardian: number | undefined }> {
  const child = spawn(node, [server, JSON.stringify(options)], { stdio: ["ignore", "pipe", "inherit"] });
  pids.push(child.pid as number);
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", () => reject(new Error("the server ended")));
  });
  const workers = JSON.parse(line) as number[];
  const children = ((await readProcesses()) ?? []).filter((r) => r.ppid === child.pid && !workers.includes(r.pid));
  const guardian = children[0]?.pid;
  // It has that name once it does not mind signals.
  if (guardian !== undefined) await waitFor(() => commandLine(guardian).includes("sluice-guardian"), "the guardian is up");
  pids.push(...workers, ...(guardian === undefined ? [] : [guardian]));
  return { child, workers, guardian };
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
}

const stubborn = { ignoreEof: true, ignoreTerm: true };

it.skipIf(!linux)("leaves nothing of a server that was killed, however its workers hold on", async () => {
  const workers = [
    { id: `g1-${process.pid}`, fake: stubborn, grandchildren: [{}, { detached: true }, { detached: true, cleanEnv: true }] },
    { id: `g2-${process.pid}`, fake: {}, grandchildren: [{ detached: true }, { cleanEnv: true }] },
  ];
  const started = await startServer({ workers });
  expect(started.workers.map(running)).toEqual(Array(7).fill(true));
  expect(started.guardian).toBeDefined();
  started.child.kill("SIGKILL");
  await waitFor(() => started.workers.every((pid) => !running(pid)), "everything is gone");
  await waitFor(() => !running(started.guardian as number), "the guardian is gone too");
});

it.skipIf(!linux)("lets a server that shuts down in good order go, and goes with it", async () => {
  const workers = [{ id: `g3-${process.pid}`, fake: {} }];
  const started = await startServer({ workers, closes: true, stateDir: folder });
  expect([...started.workers.map(running), started.guardian]).toEqual([false, undefined]);
  expect(readdirSync(folder)).toEqual([]);
});

it.skipIf(!linux)(
  "stays when a terminal or a service manager signals everybody, and does its work after the server",
  async () => {
    const started = await startServer({ workers: [{ id: `g4-${process.pid}`, fake: stubborn }] });
    const guarding = started.guardian as number;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.kill(guarding, signal);
    expect(readProcess(guarding)?.session).toBe(guarding);
    started.child.kill("SIGKILL");
    await waitFor(() => started.workers.every((pid) => !running(pid)), "everything is gone");
  },
);

it.skipIf(!linux)("ends only what was not removed, and only with the start that was told", async () => {
  const [kept, removed, another] = await Promise.all([group("g5-a"), group("g5-b"), group("g5-c")]);
  const ours = guardian();
  ours.add(kept);
  ours.add(removed);
  ours.add({ pid: another.pid, start: another.start - 1, marker: undefined });
  ours.remove(removed.pid);
  await ours.close();
  expect([kept, removed, another].map((g) => running(g.pid))).toEqual([false, true, true]);
});

it.skipIf(!linux)("is started with the first group, and again with the next one when it died", async () => {
  const [first, second] = await Promise.all([group("g6-a"), group("g6-b")]);
  const ours = guardian();
  expect(ours.pid).toBeUndefined();
  ours.add(first);
  const before = ours.pid as number;
  process.kill(before, "SIGKILL");
  await waitFor(() => ours.pid === undefined, "its death was seen");
  ours.add(second);
  expect(ours.pid).not.toBe(before);
  await ours.close();
  expect([first, second].map((g) => running(g.pid))).toEqual([false, false]);
});

it.skipIf(!linux)("finds by its number what a group left whose first process has just exited", async () => {
  const code = `const child = require("node:child_process").spawn(process.execPath, ["-e", 'console.log("up"); setInterval(() => {}, 1000)'],
    { stdio: ["ignore", "inherit", "ignore"], env: {} }); console.log(child.pid); process.stdin.once("end", () => process.exit()).resume();`;
  const first = spawn(node, ["-e", code], { detached: true, stdio: ["pipe", "pipe", "ignore"] });
  const line = await new Promise<string>((resolve) => createInterface({ input: first.stdout }).once("line", resolve));
  const left = Number(line);
  pids.push(first.pid as number, left);
  const ours = guardian();
  ours.add({ pid: first.pid as number, start: readProcess(first.pid as number)?.start, marker: undefined });
  first.stdin.end();
  await new Promise((resolve) => first.once("exit", resolve));
  expect(running(left)).toBe(true);
  await ours.close();
  expect(running(left)).toBe(false);
});

it.skipIf(!linux)("ends nothing after a bye, and does not fall over what it does not understand", async () => {
  const [told, taken] = await Promise.all([group("g7-a"), group("g7-b")]);
  const run = async (...lines: (object | string | null)[]) => {
    const child = spawn(node, [entry], { stdio: ["pipe", "ignore", "inherit"] });
    child.stdin.end(lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""));
    return await new Promise((resolve) => child.once("exit", resolve));
  };
  expect(await run({ add: told }, { bye: true })).toBe(0);
  expect(running(told.pid)).toBe(true);
  expect(await run("garbage", null, "1", { add: 1 }, { add: { pid: -1, start: 1 } }, { remove: null }, { add: taken })).toBe(0);
  expect([running(told.pid), running(taken.pid)]).toEqual([true, false]);
});

it("warns when it cannot be started, and hinders nobody", async () => {
  const warnings: string[] = [];
  const execPath = process.execPath;
  process.execPath = join(folder, "no-node");
  try {
    const ours = new Guardian({ entry, onWarn: (message) => warnings.push(message) });
    ours.add({ pid: 4_000_000, start: 1, marker: undefined });
    await waitFor(() => warnings.length > 0, "it warns");
    ours.remove(4_000_000);
    await ours.close();
  } finally {
    process.execPath = execPath;
  }
  expect(warnings).toEqual([expect.stringContaining("ENOENT")]);
});
