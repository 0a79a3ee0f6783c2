import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Leftovers } from "../../src/executor/leftovers.ts";
import { readProcess, readProcesses } from "../../src/executor/process-tree.ts";
import { waitFor } from "../wait-for.ts";
import { node, running } from "./house.ts";

const linux = process.platform === "linux";
if (!linux)
  // biome-ignore lint/suspicious/noConsole: a skipped promise is said aloud.
  console.warn("leftovers: processes can be told apart only by /proc; those tests are skipped");

const server = fileURLToPath(new URL("../fakes/worker/server.mjs", import.meta.url));
const boot = linux ? readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() : "";
/** Of a server that is gone: no pid is so large. */
const goneFile = "workers-4194305-1.jsonl";

let folder: string;
let warnings: string[];
const children: ChildProcess[] = [];
const pids: number[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-leftovers-"));
  warnings = [];
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const pid of pids.splice(0)) if (running(pid)) process.kill(pid, "SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** A process group that stays, deaf to SIGTERM. */
async function group(marker?: string): Promise<{ pid: number; start: number }> {
  const code = 'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000)';
  const env = marker === undefined ? {} : { SLUICE_LEASE_ID: marker };
  const child = spawn(node, ["-e", code], { detached: true, stdio: ["ignore", "pipe", "ignore"], env });
  children.push(child);
  await new Promise((resolve) => child.stdout.once("data", resolve));
  const pid = child.pid as number;
  return { pid, start: readProcess(pid)?.start as number };
}

function write(lines: (object | string)[], name = goneFile): void {
  const text = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n");
  writeFileSync(join(folder, name), `${text}\n`);
}

const reap = () => Leftovers.reap(folder, (message) => warnings.push(message));

describe.skipIf(!linux)("reaping", () => {
  it("ends what a server left that was killed together with its guardian, wherever it went", async () => {
    const id = `left-${process.pid}`;
    const workers = [{ id, fake: { ignoreEof: true, ignoreTerm: true }, grandchildren: [{}, { detached: true }] }];
    const child = spawn(node, [server, JSON.stringify({ stateDir: folder, workers })], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    const line = await new Promise<string>((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
    const left = JSON.parse(line) as number[];
    pids.push(...left);
    // While the server runs, its file is left alone.
    expect(await reap()).toEqual({ ended: 0, left: 0 });
    expect(readdirSync(folder)).toHaveLength(1);
    const rows = (await readProcesses()) ?? [];
    for (const row of rows) if (row.ppid === child.pid && !left.includes(row.pid)) process.kill(row.pid, "SIGKILL");
    child.kill("SIGKILL");
    await waitFor(() => !running(child.pid as number), "the server is gone");
    expect(left.map(running)).toEqual([true, true, true]);
    expect(await reap()).toEqual({ ended: 1, left: 0 });
    expect(left.map(running)).toEqual([false, false, false]);
    expect([readdirSync(folder), warnings]).toEqual([[], []]);
  }, 30_000);

  it("ends only a process with the recorded start", async () => {
    const [right, wrong] = await Promise.all([group(), group()]);
    write([{ boot }, { add: right }, { add: { pid: wrong.pid, start: wrong.start - 1 } }]);
    expect(await reap()).toEqual({ ended: 1, left: 0 });
    expect([right, wrong].map((g) => running(g.pid))).toEqual([false, true]);
    expect([readdirSync(folder), warnings]).toEqual([[], []]);
  });

  it("does not take a group for the recorded one because it has the number of that one", async () => {
    // The first process is gone, and its number has been given to a session of somebody else, whose first process is gone too.
    const code = `const child = require("node:child_process").spawn(process.execPath, ["-e", 'console.log("up"); setInterval(() => {}, 1000)'],
      { stdio: ["ignore", "inherit", "ignore"] }); console.log(child.pid); setTimeout(() => process.exit(), 200);`;
    const first = spawn(node, ["-e", code], { detached: true, stdio: ["ignore", "pipe", "ignore"] });
    const line = await new Promise<string>((resolve) => createInterface({ input: first.stdout }).once("line", resolve));
    pids.push(Number(line));
    await new Promise((resolve) => first.once("exit", resolve));
    expect(readProcess(Number(line))?.session).toBe(first.pid);
    write([{ boot }, { add: { pid: first.pid, start: 1 } }]);
    expect(await reap()).toEqual({ ended: 0, left: 0 });
    expect(running(Number(line))).toBe(true);
  });

  it("finds strays by their marker when the first process is gone", async () => {
    const stray = await group(`stray-${process.pid}`);
    write([{ boot }, { add: { pid: 4_194_304, start: stray.start - 1, marker: `SLUICE_LEASE_ID=stray-${process.pid}` } }]);
    expect(await reap()).toEqual({ ended: 1, left: 0 });
    expect(running(stray.pid)).toBe(false);
  });

  it("leaves alone what had ended, and all of another boot", async () => {
    const [ended, other] = await Promise.all([group(), group()]);
    write([{ boot }, { add: ended }, { remove: { pid: ended.pid } }]);
    write([{ boot: "another" }, { add: other }], "workers-4194306-1.jsonl");
    expect(await reap()).toEqual({ ended: 0, left: 0 });
    expect([ended, other].map((g) => running(g.pid))).toEqual([true, true]);
    expect([readdirSync(folder), warnings]).toEqual([[], []]);
  });

  it("warns of damaged files and ends what it understands", async () => {
    const [right, marked] = await Promise.all([group(), group()]);
    const marker = "PATH=/usr/bin";
    write([
      { boot },
      "garbage",
      "null",
      { add: right },
      { add: { ...marked, marker } },
      { add: { pid: 1, start: 1 } },
      { add: { pid: marked.pid } },
    ]);
    writeFileSync(join(folder, "workers-4194306-1.jsonl"), Buffer.from([0xff, 0x00, 0x0a, 0x7b]));
    mkdirSync(join(folder, "workers-4194307-1.jsonl"));
    writeFileSync(join(folder, "somebody-elses"), "x");
    expect(await reap()).toEqual({ ended: 1, left: 0 });
    expect([right, marked].map((g) => running(g.pid))).toEqual([false, true]);
    expect(warnings.join("\n")).toMatch(/workers-4194305-1.jsonl is damaged: 5 of its lines/);
    expect(warnings).toHaveLength(3);
    expect(readdirSync(folder).sort()).toEqual(["somebody-elses", "workers-4194307-1.jsonl"]);
  });

  it("does not mind half a line at the end, which a server leaves that is killed while it writes", async () => {
    const right = await group();
    write([{ boot }, { add: right }]);
    writeFileSync(join(folder, goneFile), '{"add":{"pid":12', { flag: "a" });
    expect(await reap()).toEqual({ ended: 1, left: 0 });
    expect(warnings).toEqual([]);
  });

  it("has nothing to do where there is no folder", async () => {
    rmSync(folder, { recursive: true });
    expect(await reap()).toEqual({ ended: 0, left: 0 });
    expect(warnings).toEqual([]);
    mkdirSync(folder);
  });
});

describe.skipIf(!linux)("recording", () => {
  const file = () => join(folder, `workers-${process.pid}-${readProcess(process.pid)?.start}.jsonl`);
  const recorded = () =>
    readFileSync(file(), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as object);

  it("is on the disk when it returns", () => {
    const leftovers = new Leftovers(folder);
    leftovers.add({ pid: 20, start: 5, marker: "SLUICE_LEASE_ID=a" });
    expect(recorded()).toEqual([{ boot }, { add: { pid: 20, start: 5, marker: "SLUICE_LEASE_ID=a" } }]);
    leftovers.add({ pid: 21, start: 6, marker: undefined });
    leftovers.remove(20);
    leftovers.remove(20);
    expect(recorded().slice(2)).toEqual([{ add: { pid: 21, start: 6 } }, { remove: { pid: 20 } }]);
    leftovers.close();
    expect(existsSync(file())).toBe(true);
    leftovers.remove(21);
    leftovers.close();
    expect(existsSync(file())).toBe(false);
  });

  it("does not grow with every worker that ever was", () => {
    const leftovers = new Leftovers(folder);
    leftovers.add({ pid: 20, start: 5, marker: undefined });
    for (let i = 0; i < 2_000; i += 1) {
      leftovers.add({ pid: 100 + i, start: 7, marker: undefined });
      leftovers.remove(100 + i);
    }
    expect(recorded().length).toBeLessThanOrEqual(1_003);
    expect(recorded().slice(0, 2)).toEqual([{ boot }, { add: { pid: 20, start: 5 } }]);
    expect(readdirSync(folder)).toHaveLength(1);
  });

  it("writes nothing without a folder, or before there is something to write", () => {
    new Leftovers(undefined).add({ pid: 20, start: 5, marker: undefined });
    new Leftovers(folder).close();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("creates the folder for its user alone, and warns once of one that it cannot write to", () => {
    const inner = join(folder, "a", "b");
    const made = new Leftovers(inner);
    made.add({ pid: 20, start: 5, marker: undefined });
    expect(readdirSync(inner)).toHaveLength(1);
    writeFileSync(join(folder, "file"), "");
    const leftovers = new Leftovers(join(folder, "file"), (message) => warnings.push(message));
    leftovers.add({ pid: 20, start: 5, marker: undefined });
    leftovers.remove(20);
    leftovers.close();
    expect(warnings).toEqual([expect.stringContaining("cannot be written to")]);
  });
});
