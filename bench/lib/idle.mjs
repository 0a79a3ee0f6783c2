import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../dist/transport/client.js";
import { median, timed } from "./numbers.mjs";
import { cpuMs, rssKib, startServer } from "./processes.mjs";

/** Node alone, from its start to its first word, and sluice to its readiness, in turns; ms. */
export async function startTimes(rounds) {
  const times = { node: [], sluice: [] };
  for (let round = 0; round < rounds; round++) {
    times.node.push(
      await timed(async () => {
        const child = spawn(process.execPath, ["-e", "console.log('ready')"], { stdio: ["ignore", "pipe", "inherit"] });
        await once(child.stdout, "data");
      }),
    );
    let server;
    times.sluice.push(
      await timed(async () => {
        server = await startServer("--web", "127.0.0.1:0", "--state", ":memory:");
      }),
    );
    await server.stop();
  }
  return { node: median(times.node), sluice: median(times.sluice) };
}

function timesAwake(pid) {
  return Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
}

/** How often the main thread wakes within a second, waking-ups within 20 ms counted once; resident memory in MiB; ms of processor a second. */
async function restOf(pid, seconds) {
  const cpuFrom = cpuMs(pid);
  const from = performance.now();
  let before = timesAwake(pid);
  let awake = 0;
  while (performance.now() - from < seconds * 1_000) {
    await delay(20);
    const now = timesAwake(pid);
    if (now !== before) awake++;
    before = now;
  }
  const tookS = (performance.now() - from) / 1_000;
  return { awake: awake / tookS, cpu: (cpuMs(pid) - cpuFrom) / tookS, rssMib: rssKib(pid) / 1_024 };
}

/** A server that nobody asks, without a GPU. */
export async function idleOf(seconds) {
  const server = await startServer("--web", "127.0.0.1:0", "--state", ":memory:", "--monitor", "sys-mon-host");
  await delay(5_000);
  const rest = await restOf(server.pid, seconds);
  await server.stop();
  return rest;
}

/** A pretended nvidia-smi with so many GPUs; test/fakes/nvidia-smi says what it does. */
class GpuStandIn {
  #folder = mkdtempSync(join(tmpdir(), "sluice-gpus-"));
  #gpus;
  path = join(this.#folder, "bin/nvidia-smi");

  constructor(count) {
    this.#gpus = Array.from({ length: count }, (_, i) => ({
      uuid: `GPU-fa4e0000-0000-4000-8000-${String(i).padStart(12, "0")}`,
      usedMb: 0,
    }));
    mkdirSync(join(this.#folder, "bin"));
    const script = fileURLToPath(new URL("../../test/fakes/nvidia-smi/nvidia-smi.mjs", import.meta.url));
    const state = join(this.#folder, "state.json");
    writeFileSync(this.path, `#!/bin/sh\nFAKE_NVIDIA_SMI_STATE='${state}' exec '${process.execPath}' '${script}' "$@"\n`);
    chmodSync(this.path, 0o755);
    this.use(0);
  }

  /** Memory that somebody without a lease has on each GPU. */
  use(usedMb) {
    const file = join(this.#folder, "state.json");
    writeFileSync(`${file}.new`, JSON.stringify({ gpus: this.#gpus.map((gpu) => ({ ...gpu, usedMb })), logRounds: true }));
    renameSync(`${file}.new`, file);
  }

  /** When the last row of the last round before `at` was out, in ms since 1970. */
  roundBefore(at) {
    const lines = readFileSync(join(this.#folder, "rounds.log"), "utf8").trimEnd().split("\n");
    return Math.max(...lines.map((line) => JSON.parse(line).t).filter((t) => t <= at));
  }

  remove() {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/**
 * A server that nobody asks beside the measurements of so many GPUs; ms from a measurement that shows room until the grant is decided, as
 * its lease says, and until the client hears of it; and ms of an empty call between them, because everything that sleeps in between is slow
 * to wake.
 */
export async function monitorOf(gpus, periodMs, seconds, rounds) {
  const machine = new GpuStandIn(gpus);
  const server = await startServer(
    ...["--web", "127.0.0.1:0", "--state", ":memory:", "--monitor", "sys-mon-nvidia", "--nvidia-smi", machine.path],
    ...["--sample-period", String(periodMs)],
  );
  // What runs twice a second is compiled, on further threads, in the first half minute.
  await delay(30_000);
  const rest = await restOf(server.pid, seconds);
  const connection = connectClient(server.address);
  const client = connection.client(SchedulerService);
  const decided = [];
  const heard = [];
  const empty = [];
  for (let round = 0; round < rounds; round++) {
    machine.use(20_000);
    await delay(3 * periodMs);
    empty.push(await timed(() => client.getPolicy({})));
    await delay(periodMs);
    const workload = { name: "monitor", resources: { requiresGpu: true, minGpuVramMb: 10_000 } };
    for await (const { event } of client.waitForResources({ workload })) {
      if (event.case === "queued") machine.use(0);
      if (event.case !== "granted") continue;
      const at = performance.timeOrigin + performance.now();
      const { id, token, grantedAt } = event.value.lease;
      const measuredAt = machine.roundBefore(at);
      decided.push(timestampMs(grantedAt) - measuredAt);
      heard.push(at - measuredAt);
      await client.releaseLease({ leaseId: id, token });
    }
  }
  connection.close();
  await server.stop();
  machine.remove();
  return { ...rest, decidedMs: median(decided), heardMs: median(heard), emptyMs: median(empty) };
}
