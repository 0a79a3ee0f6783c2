// What sluice adds to one call of a worker that is loaded: ExecutePlugin over gRPC on the loopback, beside the same call said to the
// same program over its stdin and stdout. node bench/worker.mjs [CALLS]; fails when the medians differ by more than 2 ms.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { connectClient } from "../dist/transport/client.js";
import { print, printSetUp, printTable } from "./lib/print.mjs";

const self = fileURLToPath(import.meta.url);
const targetMs = 2;
const warmUp = 500;

/** Answers each execution with its arguments. */
function work() {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const { id, method, params } = JSON.parse(line);
    const result = method === "execute" ? params.arguments : { capabilities: {} };
    process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, result })}\n`);
    if (method === "shutdown") process.exit(0);
  });
  lines.on("close", () => process.exit(0));
}

/** The worker without sluice: one line there, one line back. */
function openBare() {
  const child = spawn(process.execPath, [self, "--worker"], { stdio: ["pipe", "pipe", "inherit"] });
  const waiting = new Map();
  let id = 0;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const answer = JSON.parse(line);
    waiting.get(answer.id)?.(answer.result);
    waiting.delete(answer.id);
  });
  const ask = (method, params) =>
    new Promise((resolve) => {
      waiting.set(++id, resolve);
      child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
    });
  return { call: (n) => ask("execute", { execution_id: `${n}`, arguments: { n } }), close: () => child.stdin.end() };
}

/** The same program as a plugin of a server in a process of its own. */
async function openSluice(dir) {
  const plugin = {
    name: "echo",
    version: "1.0.0",
    mode: "worker",
    resources: {},
    command: [process.execPath, self, "--worker"],
  };
  writeFileSync(join(dir, "echo.json"), JSON.stringify(plugin));
  const main = fileURLToPath(new URL("../dist/bin/sluice.js", import.meta.url));
  const flags = ["--grpc", "127.0.0.1:0", "--web", "off", "--simulate", "1x24576", "--plugins", dir, "--log-level", "warn"];
  const server = spawn(process.execPath, [main, "serve", ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => server.kill());
  const address = await new Promise((resolve, reject) => {
    server.once("exit", () => reject(new Error("the server ended before it was ready")));
    let said = "";
    server.stdout.setEncoding("utf8").on("data", (text) => {
      said += text;
      const found = /^ {2}gRPC +(\S+)$/m.exec(said)?.[1];
      if (found !== undefined && said.includes(" is ready\n")) resolve(found);
    });
  });
  const connection = connectClient(address, { timeoutMs: 20_000 });
  const executor = connection.client(ExecutorService);
  await executor.loadPlugin({ name: "echo" });
  return {
    call: (n) => executor.executePlugin({ plugin: "echo", arguments: { n } }),
    async close() {
      connection.close();
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGTERM");
      await ended;
    },
  };
}

async function timed(call, n) {
  const from = performance.now();
  await call(n);
  return performance.now() - from;
}

/** Nearest rank. */
function percentile(sorted, p) {
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)];
}

async function main(calls) {
  const dir = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  const times = { sluice: [], bare: [] };
  const bare = openBare();
  const sluice = await openSluice(dir);
  try {
    // One after the other in turns, so that whatever else the machine does is seen by both.
    for (let n = 0; n < warmUp + calls; n++) {
      const took = { bare: await timed(bare.call, n), sluice: await timed(sluice.call, n) };
      if (n >= warmUp) for (const way of ["sluice", "bare"]) times[way].push(took[way]);
    }
  } finally {
    bare.close();
    await sluice.close();
    rmSync(dir, { recursive: true, force: true });
  }
  for (const list of Object.values(times)) list.sort((a, b) => a - b);
  printSetUp("A call of a loaded worker", {
    calls: `${calls} each, after ${warmUp} to warm up; one at a time, in turns`,
    sluice: "ExecutePlugin over gRPC on the loopback, server and worker in processes of their own",
    bare: "the same request as one line to the stdin of the same program, and one line back",
    program: "answers its arguments; Node",
  });
  const rows = [0.5, 0.99].map((p) => {
    const [a, b] = [percentile(times.sluice, p), percentile(times.bare, p)];
    return [p === 0.5 ? "median, ms" : "p99, ms", a.toFixed(3), b.toFixed(3), (a - b).toFixed(3)];
  });
  printTable(["", "sluice", "bare", "difference"], rows);
  const differenceMs = percentile(times.sluice, 0.5) - percentile(times.bare, 0.5);
  const passed = differenceMs <= targetMs;
  print(`${passed ? "pass" : "FAIL"}  the medians differ by at most ${targetMs} ms  (${differenceMs.toFixed(3)} ms)`);
  process.exitCode = passed ? 0 : 1;
}

if (process.argv[2] === "--worker") work();
else await main(Number(process.argv[2] ?? 2_000));
