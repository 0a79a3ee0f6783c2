// Jobs that really take GPU memory, several times more than there is, through `sluice run`: first under policy queue, then under the
// check-then-act policy of the examples.
//   npm run build && node bench/real-gpu/jobs.mjs [JOBS]
// Needs what measure.mjs needs. Fails when a job under `queue` runs out of memory or is not done.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { print, printSetUp, printTable } from "../lib/print.mjs";
import { cudaJob } from "./cuda-job.mjs";

const root = new URL("../../", import.meta.url);
const main = fileURLToPath(new URL("dist/bin/sluice.js", root));
const count = Number(process.argv[2] ?? 60);
const atOnce = 16;
/** What CUDA takes besides what is allocated (MiB); measure.mjs says how much that is. Declared with each job, as users must. */
const contextMb = 700;
const outOfMemory = 77;

const query = "--format=csv,noheader,nounits";
const [name, , totalMb] = execFileSync("nvidia-smi", ["-i", "0", "--query-gpu=name,driver_version,memory.total", query], {
  encoding: "utf8",
}).split(", ");

/** The same list each time: from a twentieth to a half of the card, for 1 to 4 s. */
function list() {
  let seed = 7;
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed / 2_147_483_648;
  };
  return Array.from({ length: count }, () => ({
    mib: Math.round(Number(totalMb) * (0.05 + 0.45 * random() ** 2)),
    seconds: 1 + 3 * random(),
  }));
}

async function startServer(dir, policy) {
  const flags = ["--grpc", "127.0.0.1:0", "--web", "off", "--state", join(dir, "state"), "--policy", policy];
  const server = spawn(process.execPath, [main, "serve", ...flags, "--log-level", "warn"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  for await (const chunk of server.stdout) {
    said += chunk;
    const address = /^ {2}gRPC +(\S+)$/m.exec(said)?.[1];
    if (address !== undefined && said.includes("Next, in another terminal")) return { server, address };
  }
  throw new Error(`the server did not start: ${said}`);
}

/** @returns the exit code. */
function run(address, job, i) {
  const declared = job.mib + contextMb;
  const args = ["run", "--vram", String(declared), "--name", `job-${i}`, "--timeout", "600"];
  const child = spawn(process.execPath, [main, ...args, "--", cudaJob(), String(job.mib), job.seconds.toFixed(2)], {
    env: { ...process.env, SLUICE_ADDRESS: address },
    stdio: "ignore",
  });
  return new Promise((resolve) => child.once("exit", resolve));
}

async function drive(policy) {
  const dir = mkdtempSync(join(tmpdir(), "sluice-gpu-"));
  const { server, address } = await startServer(dir, policy);
  const jobs = list();
  const codes = [];
  const began = performance.now();
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < jobs.length; i = next++) codes[i] = await run(address, jobs[i], i);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  const seconds = (performance.now() - began) / 1000;
  server.kill("SIGTERM");
  await new Promise((resolve) => server.once("exit", resolve));
  rmSync(dir, { recursive: true, force: true });
  const asked = jobs.reduce((sum, job) => sum + job.mib * job.seconds, 0);
  const lost = codes.filter((code) => code === outOfMemory).length;
  const done = codes.filter((code) => code === 0).length;
  return { done, lost, other: jobs.length - done - lost, seconds, use: (100 * asked) / (Number(totalMb) * seconds) };
}

printSetUp("jobs on a real GPU", { gpu: `${name}, ${totalMb.trim()} MiB`, jobs: `${count}, ${atOnce} offered at a time` });
const jobs = list();
print(
  `together ${jobs.reduce((sum, job) => sum + job.mib, 0)} MiB, for ${jobs.reduce((sum, job) => sum + job.seconds, 0).toFixed(0)} s\n`,
);
const rows = [];
let failed = false;
for (const policy of ["queue", fileURLToPath(new URL("examples/policies/check-then-act.mjs", root))]) {
  const r = await drive(policy);
  rows.push([policy.replace(/.*\//, ""), r.done, r.lost, r.other, r.seconds.toFixed(1), r.use.toFixed(0)]);
  if (policy === "queue") failed = r.done !== count;
}
printTable(["policy", "done", "out of memory", "failed otherwise", "s", "% of memory·time asked for"], rows);
if (failed) {
  print("FAIL: under queue every job must be done");
  process.exitCode = 1;
}
