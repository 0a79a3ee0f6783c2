import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Command, type ProcessGroup, startProcessGroup } from "../../src/executor/process-group.ts";
import { readProcesses } from "../../src/executor/process-tree.ts";
import { waitFor } from "../wait-for.ts";
import { node, running } from "./house.ts";

const linux = process.platform === "linux";
if (!linux)
  // biome-ignore lint/suspicious/noConsole: a skipped promise is said aloud.
  console.warn("process groups: descendants that leave their group can be found only on Linux; those tests are skipped");

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-group-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const env = { PATH: process.env.PATH ?? "" };

async function start(argv: string[], more: Partial<Command> = {}): Promise<ProcessGroup> {
  const started = await startProcessGroup({ argv, cwd: folder, env, graceMs: 2_000, ...more });
  if (!started.ok) throw new Error(started.message);
  return started.group;
}

const js = (code: string, more: Partial<Command> = {}) => start([node, "-e", code], more);

/** The first line that it writes: here always the pids that the test must see end. */
function firstLine(group: ProcessGroup): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    group.stdout.on("data", (chunk: Buffer) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (end >= 0) resolve(text.slice(0, end));
    });
  });
}

/** Starts a child, detached into a session of its own when asked, and prints both pids; then waits for ever. */
const parent = (detached: boolean, childCode: string, then = "setInterval(() => {}, 1000)") =>
  `const child = require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(childCode)}], { detached: ${detached}, stdio: ["ignore", "pipe", "ignore"] });
   child.stdout.once("data", () => { console.log(process.pid + " " + child.pid); ${then} });`;
const stays = 'console.log("up"); setInterval(() => {}, 1000)';
const stubborn = `process.on("SIGTERM", () => {}); ${stays}`;

it("reports the exit code of a command that ends by itself", async () => {
  const group = await js("process.exitCode = 3");
  expect(await group.ended).toEqual({ code: 3, weKilled: false, left: 0 });
});

it("reports a signal that somebody else sent as not ours", async () => {
  const group = await js('process.kill(process.pid, "SIGKILL")');
  expect(await group.ended).toEqual({ signal: "SIGKILL", weKilled: false, left: 0 });
});

it("hands arguments over as they are: no shell looks at them", async () => {
  const group = await start([node, "-p", "JSON.stringify(process.argv.slice(1))", "--", "$(id)", "a b;`x`", "*"]);
  expect(JSON.parse(await firstLine(group))).toEqual(["$(id)", "a b;`x`", "*"]);
  await group.ended;
});

it("ends a command and its children with SIGTERM, and says that it did", async () => {
  const group = await js(parent(false, stays));
  const [first, child] = (await firstLine(group)).split(" ").map(Number);
  expect(await group.kill()).toEqual({ signal: "SIGTERM", weKilled: true, left: 0 });
  expect([running(first as number), running(child as number)]).toEqual([false, false]);
});

it("lets a command tidy up within the grace", async () => {
  const group = await js(
    'process.on("SIGTERM", () => setTimeout(() => process.exit(7), 100)); console.log("up"); setInterval(() => {}, 1000)',
  );
  await firstLine(group);
  expect(await group.kill()).toEqual({ code: 7, weKilled: true, left: 0 });
});

it("ends a command that does not listen with SIGKILL after the grace, children too", async () => {
  const group = await js(`process.on("SIGTERM", () => {}); ${parent(false, stubborn)}`, { graceMs: 200 });
  const [first, child] = (await firstLine(group)).split(" ").map(Number);
  expect(await group.kill()).toMatchObject({ signal: "SIGKILL", weKilled: true, left: 0 });
  expect([running(first as number), running(child as number)]).toEqual([false, false]);
});

it.skipIf(!linux)("ends a grandchild that moved into a session of its own", async () => {
  const group = await js(parent(true, stubborn), { graceMs: 200 });
  const [, child] = (await firstLine(group)).split(" ").map(Number);
  await group.kill();
  expect(running(child as number)).toBe(false);
});

it("ends what a command leaves behind in its group when it exits by itself", async () => {
  const group = await js(parent(false, stays, "process.exit(0)"));
  const [, child] = (await firstLine(group)).split(" ").map(Number);
  expect(await group.ended).toEqual({ code: 0, weKilled: false, left: 0 });
  expect(running(child as number)).toBe(false);
});

it.skipIf(!linux)("finds by its marker what left the session before its parent exited", async () => {
  const marker = `SLUICE_LEASE_ID=test-${process.pid}`;
  const group = await js(parent(true, stays, "process.exit(0)"), {
    env: { ...env, SLUICE_LEASE_ID: `test-${process.pid}` },
    marker,
  });
  const [, child] = (await firstLine(group)).split(" ").map(Number);
  expect(await group.ended).toMatchObject({ code: 0, left: 0 });
  expect(running(child as number)).toBe(false);
});

it("leaves other processes alone, those of the same test included", async () => {
  const other = await js(stays);
  await firstLine(other);
  const group = await js(stays);
  await firstLine(group);
  await group.kill();
  expect(running(other.pid)).toBe(true);
  await other.kill();
});

it("says in plain words why a command did not start", async () => {
  writeFileSync(join(folder, "not-executable"), "#!/bin/sh\n", { mode: 0o644 });
  const why = async (argv: string[], cwd = folder) => {
    const started = await startProcessGroup({ argv, cwd, env, graceMs: 100 });
    return started.ok ? "" : started.message;
  };
  expect(await why(["no-such-program-here"])).toMatch(/"no-such-program-here" was not found: install it/);
  expect(await why(["./not-executable"])).toMatch(/may not be run: check that it is a file, and executable/);
  expect(await why([node], join(folder, "gone"))).toMatch(/folder .*gone does not exist any more/);
  expect(await why([node, "x".repeat(200_000)])).toMatch(/command line is too long: .* stdin/);
});

it("does not fall over a command that closes stdin unread", async () => {
  const group = await js("process.stdin.destroy(); setTimeout(() => {}, 100)");
  group.stdin.end("x".repeat(1_000_000));
  expect(await group.ended).toMatchObject({ code: 0 });
});

it.skipIf(!linux)("reads a process whose name holds brackets and spaces", async () => {
  writeFileSync(join(folder, "a) S (b"), "#!/bin/sh\nsleep 30\n", { mode: 0o755 });
  const group = await start(["./a) S (b"]);
  const rows = await waitFor(async () => {
    const all = await readProcesses();
    return all?.filter((r) => r.session === group.pid).length === 2 ? all : undefined;
  }, "script and its sleep are there");
  expect(rows.find((r) => r.pid === group.pid)).toMatchObject({ ppid: process.pid, group: group.pid, zombie: false });
  await group.kill();
});
