import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (file) => fileURLToPath(new URL(file, import.meta.url));

const running = new Set();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

function endWithThis(child) {
  running.add(child);
  child.once("exit", () => running.delete(child));
}

/** Starts a program of Node and waits until its stdout matches. Answers the process and the match. */
async function start(args, ready) {
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  endWithThis(child);
  let said = "";
  child.stdout.setEncoding("utf8");
  const ended = once(child, "exit");
  const match = await new Promise((resolve, reject) => {
    ended.then(([code]) => reject(new Error(`${args.join(" ")} ended with ${code} before it was ready`)));
    child.stdout.on("data", (text) => {
      said += text;
      const found = ready.exec(said);
      if (found !== null) resolve(found);
    });
  });
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  return { child, pid: child.pid, match, stop };
}

/** The built server on one simulated GPU, without a web door. */
export function startSluice(...flags) {
  return startServer("--web", "off", "--simulate", "1x24576", "--max-queue", "200000", ...flags);
}

/** The built server. */
export async function startServer(...flags) {
  const fixed = ["serve", "--grpc", "127.0.0.1:0", "--log-level", "warn", "--drain-grace", "0"];
  const args = [here("../../dist/bin/sluice.js"), ...fixed, ...flags];
  const { match, ...started } = await start(args, /is ready\n[\s\S]*^ {2}gRPC +(\S+)$[\s\S]*\n\n/m);
  return { ...started, address: match[1] };
}

export async function startBare() {
  const { match, ...started } = await start([here("bare-server.mjs")], /^(\S+)\n/);
  return { ...started, address: match[1] };
}

/** Streams that wait, when each has heard something; `wake` answers after how many ms each had heard something again. */
export async function startCrowd(address, streams, vramMb, alarm = "arrival") {
  const args = [here("crowd.mjs"), address, String(streams), String(vramMb), alarm];
  const { child, stop } = await start(args, /^waiting\n/m);
  const wake = async () => Number(/^woken ([\d.]+)$/m.exec(await ask(child, "wake"))[1]);
  return { wake, stop };
}

/** One line to its stdin, one line of its stdout. */
async function ask(child, line) {
  child.stdin.write(`${line}\n`);
  const [answer] = await once(child.stdout, "data");
  return answer;
}

/** Calls that follow each other; `go` answers how many ended, and in what time. */
export async function startCallers(address, what, connections, underWay) {
  const args = [here("callers.mjs"), address, what, String(connections), String(underWay)];
  const { child, stop } = await start(args, /^connected\n/);
  const go = async (ms) => {
    const [, calls, tookMs] = /^did (\d+) in ([\d.]+)$/m.exec(await ask(child, `go ${ms}`));
    return { calls: Number(calls), tookMs: Number(tookMs) };
  };
  return { go, stop };
}

/** Resident memory in KiB. */
export function rssKib(pid) {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
}

/** Time on a processor so far, in ms; the kernel counts in hundredths of a second. */
export function cpuMs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
