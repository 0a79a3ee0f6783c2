import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../dist/transport/client.js";
import { timed } from "./numbers.mjs";
import { cpuMs, rssKib, startCrowd } from "./processes.mjs";

/** Nothing of the crowd fits beside what the rounds hold, and what they hold fits alone. */
const crowdMb = 20_000;
export const roundWork = { name: "round", priority: 100, resources: { requiresGpu: true, minGpuVramMb: 22_000 } };

/** Takes so much that nobody else fits beside it. @returns the lease. */
export async function occupy(server) {
  const connection = connectClient(server.address);
  const request = { workload: roundWork, policy: "safety", leaseTtl: durationFromMs(3_600_000) };
  const { outcome } = await connection.client(SchedulerService).allocate(request);
  connection.close();
  if (outcome.case !== "lease") throw new Error(outcome.value?.reasons.map((r) => r.message).join("; "));
  return outcome.value;
}

/**
 * Streams that wait: resident memory of each when all have heard something and at its most, in KiB, and the processor that the server
 * takes while nothing happens, in ms a second. The crowd still waits afterwards.
 */
export async function crowdOf(server, streams, alarm, { settleMs, idleMs }) {
  const warm = await startCrowd(server.address, 300, crowdMb, alarm);
  await delay(1_000);
  await warm.stop();
  await delay(settleMs);
  const before = rssKib(server.pid);
  const crowd = await startCrowd(server.address, streams, crowdMb, alarm);
  await delay(settleMs);
  const opened = rssKib(server.pid);
  const from = cpuMs(server.pid);
  let most = opened;
  for (let waited = 0; waited < idleMs; waited += 1_000) {
    await delay(1_000);
    most = Math.max(most, rssKib(server.pid));
  }
  const cpu = (cpuMs(server.pid) - from) / (idleMs / 1_000);
  return { crowd, kib: (opened - before) / streams, mostKib: (most - before) / streams, cpu };
}

/** How long until all have heard of one change, in ms; a pause before each, because news have a pace. */
export async function wakesOf(crowd, rounds, pauseMs) {
  const times = [];
  for (let round = 0; round < rounds; round++) {
    await delay(pauseMs);
    times.push(await crowd.wake());
  }
  return times;
}

/** One lease that goes round: it is given back, and whoever waits first hears that it has the memory. */
class Relay {
  #connections;
  #holder;
  #waiter;
  #lease;

  constructor(server, lease) {
    this.#connections = [connectClient(server.address), connectClient(server.address)];
    [this.#holder, this.#waiter] = this.#connections.map((connection) => connection.client(SchedulerService));
    this.#lease = lease;
  }

  /** @param before called when the next one waits, before the lease is given back. @returns ms from release to grant. */
  async pass(before = async () => {}) {
    const request = { workload: roundWork, timeout: durationFromMs(60_000) };
    const stream = this.#waiter.waitForResources(request)[Symbol.asyncIterator]();
    await stream.next();
    await before();
    let released;
    const tookMs = await timed(async () => {
      released = this.#holder.releaseLease({ leaseId: this.#lease.id, token: this.#lease.token });
      this.#lease = await nextGrant(stream);
    });
    await released;
    await stream.next();
    return tookMs;
  }

  /** @returns the lease that is held now. */
  end() {
    for (const connection of this.#connections) connection.close();
    return this.#lease;
  }
}

async function nextGrant(stream) {
  for (;;) {
    const { value, done } = await stream.next();
    if (done) throw new Error("the stream ended without a grant");
    if (value.event.case === "granted") return value.event.value.lease;
  }
}

/**
 * Release to grant, and an empty call of the bare server just before each, in ms.
 * @param lease what is held at the beginning.
 * @param warmUp rounds before those that count. Before a thousand of them much of the client and of both servers is not compiled yet.
 */
export async function grantsOf(server, bare, lease, rounds, warmUp = 20) {
  const connection = connectClient(bare.address);
  const empty = connection.client(SchedulerService);
  const relay = new Relay(server, lease);
  const times = { grant: [], empty: [] };
  for (let round = -warmUp; round < rounds; round++) {
    let emptyMs;
    const grantMs = await relay.pass(async () => {
      emptyMs = await timed(() => empty.getPolicy({}));
    });
    if (round < 0) continue;
    times.grant.push(grantMs);
    times.empty.push(emptyMs);
  }
  connection.close();
  return { ...times, lease: relay.end() };
}

/**
 * The server's processor in ms a second while so many leases a second go round, and how many did; after as long again in which what runs
 * often is compiled, on further threads.
 */
export async function churnOf(server, lease, perSecond, seconds) {
  const relay = new Relay(server, lease);
  await goRound(relay, perSecond, seconds);
  const cpuFrom = cpuMs(server.pid);
  const { grants, tookS } = await goRound(relay, perSecond, seconds);
  return { cpu: (cpuMs(server.pid) - cpuFrom) / tookS, perSecond: grants / tookS, lease: relay.end() };
}

async function goRound(relay, perSecond, seconds) {
  const from = performance.now();
  let grants = 0;
  while (performance.now() - from < seconds * 1_000) {
    await relay.pass();
    grants++;
    const early = (grants * 1_000) / perSecond - (performance.now() - from);
    if (early > 1) await delay(early);
  }
  return { grants, tookS: (performance.now() - from) / 1_000 };
}

/** The ancestor's way to wait: ask again every two seconds. Release to grant, in ms, released at any moment between two questions. */
export async function pollingOf(server, first, rounds, everyMs = 2_000) {
  const connection = connectClient(server.address);
  const client = connection.client(SchedulerService);
  const times = [];
  let lease = first;
  for (let round = 0; round < rounds; round++) {
    const { id, token } = lease;
    let releasedAt;
    const release = delay(everyMs * (0.2 + (round + 0.5) / rounds)).then(async () => {
      releasedAt = performance.now();
      await client.releaseLease({ leaseId: id, token });
    });
    for (;;) {
      const { outcome } = await client.allocate({ workload: roundWork, policy: "safety", leaseTtl: durationFromMs(3_600_000) });
      if (outcome.case === "lease") {
        times.push(performance.now() - releasedAt);
        lease = outcome.value;
        break;
      }
      await delay(everyMs);
    }
    await release;
  }
  connection.close();
  return { times, lease };
}
