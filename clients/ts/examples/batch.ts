// Runs a command for each argument, as many at a time as GPU memory allows: each waits for a lease of its own.
//   node batch.js 'echo one' 'echo two'
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, LeaseLost, NeverFits } from "sluice/client";

const stop = new AbortController();
process.once("SIGINT", () => stop.abort()); // whoever waits leaves the queue

await using client = connect();

async function run(command: string): Promise<void> {
  await using lease = await client.resources({ vramMb: 10_000, name: command, signal: stop.signal });
  // Killed when the lease is lost: its memory may be somebody else's by then.
  const signal = AbortSignal.any([stop.signal, lease.signal]);
  const child = spawn("sh", ["-c", command], { stdio: "inherit", env: { ...process.env, ...lease.env }, signal });
  await once(child, "exit");
}

for (const outcome of await Promise.allSettled(process.argv.slice(2).map(run))) {
  if (outcome.status === "fulfilled") continue;
  process.exitCode = 1;
  const { reason } = outcome;
  if (reason instanceof NeverFits) console.error(`never: ${reason.message}`);
  else if (reason instanceof LeaseLost) console.error(`lost: ${reason.message}`);
  else console.error(String(reason));
}
