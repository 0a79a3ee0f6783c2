import { afterAll, describe, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { ReasonCode } from "#gen/sluice/v1/types_pb.js";
import { FakeNvidiaSmi, type FakeState, gpuUuid } from "../../fakes/nvidia-smi/fake.ts";
import { waitFor } from "../../wait-for.ts";
import { accountOf, leaseIds } from "../support/books.ts";
import { rssMb, stateOf, zombiesOf } from "../support/process-figures.ts";
import { codesOf, gpuWork, type Scheduler, Waiter } from "../support/scheduler.ts";
import { type Server, startServer } from "../support/server.ts";
import { Unkillable } from "../support/unkillable.ts";

/** Longer than any pause before nvidia-smi is tried again. */
const recoveryMs = 35_000;
const well: FakeState = { gpus: [{ uuid: gpuUuid(0), totalMb: 24_576, usedMb: 0 }] };
const impatient = ["--sample-period", "200", "--max-sample-age", "1", "--poll-interval", "1"];

const unkillable = await Unkillable.create();
if (typeof unkillable === "string") process.stderr.write(`skipped: an nvidia-smi that no signal ends, because ${unkillable}\n`);

afterAll(async () => {
  if (typeof unkillable !== "string") await unkillable[Symbol.asyncDispose]();
});

interface NvidiaSite extends AsyncDisposable {
  readonly fake: FakeNvidiaSmi;
  readonly server: Server;
  readonly scheduler: Scheduler;
}

async function openNvidia(): Promise<NvidiaSite> {
  const fake = new FakeNvidiaSmi(well);
  const server = await startServer(["--nvidia-smi", fake.path, ...impatient]);
  const scheduler = server.client(SchedulerService);
  // A loop has more time for its first round than for those that follow.
  const rounds = new Set<string>();
  await waitFor(async () => {
    const { observedAt } = await accountOf(scheduler);
    rounds.add(`${observedAt?.seconds}.${observedAt?.nanos}`);
    return rounds.size > 4;
  }, "several rounds");
  return {
    fake,
    server,
    scheduler,
    async [Symbol.asyncDispose]() {
      await server.stop();
      fake.dispose();
    },
  };
}

/** Runs of the measuring loop so far, oldest first. */
const loops = (fake: FakeNvidiaSmi) => fake.calls().filter((call) => call.args.includes("-lms"));
const alive = (fake: FakeNvidiaSmi) => fake.calls().filter(({ pid }) => !["", "Z"].includes(stateOf(pid)));

/** Codes of the refusal that a small request gets; empty: it was admitted. */
async function refusedNow(scheduler: Scheduler): Promise<readonly string[]> {
  const { outcome } = await scheduler.allocate({ workload: gpuWork(1_000), policy: "safety" });
  return outcome.case === "refusal" ? codesOf(outcome.value.reasons) : [];
}

async function untilBlind(scheduler: Scheduler): Promise<void> {
  await waitFor(
    async () => (await accountOf(scheduler)).blockedCode === ReasonCode.GPU_STATS_UNAVAILABLE,
    "it to know nothing",
  );
}

/** Everything is measured again, and who waited is served. */
async function untilServed({ fake, scheduler }: NvidiaSite, waiter: Waiter): Promise<void> {
  fake.set(well);
  await waitFor(() => waiter.lease, "the grant once it is well", recoveryMs);
  expect((await accountOf(scheduler)).blocked).toBe("");
  await scheduler.releaseLease({ leaseId: waiter.lease?.id ?? "" });
}

describe.skipIf(typeof unkillable === "string")("an nvidia-smi that no signal ends", () => {
  it("bars every other, is named, nothing is granted meanwhile, and neither the recovery nor the end of the server hangs on it", async () => {
    if (typeof unkillable === "string") return;
    await using site = await openNvidia();
    const { fake, server, scheduler } = site;
    const stuck = await waitFor(() => loops(fake).at(-1)?.pid, "the loop to run");
    await unkillable.hold(stuck);
    // The card is full by now, which nobody can see.
    fake.set({ gpus: [{ uuid: gpuUuid(0), totalMb: 24_576, usedMb: 23_000 }], hang: true, ignoreTerm: true });
    await untilBlind(scheduler);
    const waiter = new Waiter(scheduler, 8_000);
    await waitFor(() => stateOf(stuck) === "t", "it to be killed in vain");
    const message = async () => (await scheduler.listSystemMonitors({})).monitors[0]?.message ?? "";
    await waitFor(async () => (await message()).includes(`${stuck}`), "it to be named");
    const calls = fake.calls().length;
    const until = performance.now() + 6_000;
    await waitFor(async () => {
      expect(await refusedNow(scheduler)).toEqual(["GPU_STATS_UNAVAILABLE"]);
      return performance.now() > until;
    }, "six seconds without a grant");
    expect(waiter.codes).toEqual(["GPU_STATS_UNAVAILABLE"]);
    expect(fake.calls().length).toBe(calls);
    await unkillable.letGo();
    await untilServed(site, waiter);
    expect(stateOf(stuck)).toBe("");

    const second = await waitFor(() => loops(fake).find((call) => stateOf(call.pid) === "S")?.pid, "the next loop");
    await unkillable.hold(second);
    const told = performance.now();
    server.kill("SIGTERM");
    expect(await server.process.end).toBe(0);
    expect(performance.now() - told).toBeLessThan(10_000);
    await unkillable.letGo();
    await waitFor(() => alive(fake).length === 0, "nothing to be left");
  });
});

it("an nvidia-smi that answers nothing and ignores SIGTERM is killed, and none is left when the server ends", async () => {
  await using site = await openNvidia();
  const { fake, server, scheduler } = site;
  fake.set({ gpus: [{ uuid: gpuUuid(0), totalMb: 24_576, usedMb: 23_000 }], hang: true, ignoreTerm: true });
  await untilBlind(scheduler);
  const waiter = new Waiter(scheduler, 8_000);
  const first = loops(fake)[0]?.pid ?? 0;
  await waitFor(() => stateOf(first) === "", "the first loop to be gone");
  expect(await refusedNow(scheduler)).toEqual(["GPU_STATS_UNAVAILABLE"]);
  expect(zombiesOf(server.process.pid)).toEqual([]);
  await untilServed(site, waiter);
  fake.set({ ...well, hang: true, ignoreTerm: true });
  await untilBlind(scheduler);
  expect(await server.stop()).toBe(0);
  expect(alive(fake)).toEqual([]);
});

it("an nvidia-smi that dies at once each time is tried again with longer and longer pauses, and leaves no zombies", async () => {
  await using site = await openNvidia();
  const { fake, server, scheduler } = site;
  fake.set({ gpus: [{ uuid: gpuUuid(0), totalMb: 24_576, usedMb: 23_500 }], loopExit: { afterRounds: 0, signal: "SIGSEGV" } });
  await untilBlind(scheduler);
  const waiter = new Waiter(scheduler, 8_000);
  await waitFor(() => waiter.last === "queued", "the request to wait");
  const before = loops(fake).length;
  const until = performance.now() + 10_000;
  const pauses: number[] = [];
  await waitFor(
    async () => {
      // What is asked before each loop is an answer too, and true: the card is full.
      expect(["GPU_STATS_UNAVAILABLE", "INSUFFICIENT_GPU_MEMORY"]).toContain((await refusedNow(scheduler))[0]);
      expect(zombiesOf(server.process.pid).length).toBeLessThanOrEqual(1);
      return performance.now() > until;
    },
    "ten seconds of dying",
    20_000,
  );
  const starts = loops(fake).slice(before - 1);
  for (let i = 1; i < starts.length; i++) pauses.push((starts[i]?.t ?? 0) - (starts[i - 1]?.t ?? 0));
  // 1 s, 2 s, 4 s, …: a handful, not hundreds.
  expect(starts.length).toBeLessThan(8);
  expect(pauses.length).toBeGreaterThan(0);
  process.stderr.write(`nvidia-smi that dies at once: ${starts.length} loops in 10 s, pauses ${pauses.join(", ")} ms\n`);
  expect(waiter.last).toBe("queued");
  await untilServed(site, waiter);
  await waitFor(() => zombiesOf(server.process.pid).length === 0, "no zombie to be left");
  expect(await server.stop()).toBe(0);
  expect(alive(fake)).toEqual([]);
});

it("an nvidia-smi that floods is ended, the server's memory stays as it was, and it is measured again afterwards", async () => {
  await using site = await openNvidia();
  const { fake, server, scheduler } = site;
  await waitFor(async () => (await accountOf(scheduler)).freeMb !== undefined, "measurements");
  const before = rssMb(server.process.pid);
  fake.set({ ...well, flood: true });
  await untilBlind(scheduler);
  const waiter = new Waiter(scheduler, 8_000);
  let most = 0;
  const until = performance.now() + 6_000;
  await waitFor(async () => {
    most = Math.max(most, rssMb(server.process.pid));
    expect(await refusedNow(scheduler)).toEqual(["GPU_STATS_UNAVAILABLE"]);
    return performance.now() > until;
  }, "six seconds of floods");
  process.stderr.write(`floods of nvidia-smi: ${before.toFixed(0)} MiB before, ${most.toFixed(0)} MiB at most\n`);
  // Each flood is 1 GiB.
  expect(most - before).toBeLessThan(100);
  await untilServed(site, waiter);
  expect(await server.stop()).toBe(0);
  expect(alive(fake)).toEqual([]);
});

it("figures that cannot be true admit nothing, and the reason says so, until they can be again", async () => {
  await using site = await openNvidia();
  const { fake, scheduler } = site;
  const full = { totalMb: 24_576, usedMb: 23_000 };
  const lies: readonly [string, Partial<FakeState["gpus"][number]>][] = [
    ["more used than there is", { totalMb: 24_576, usedMb: 30_000 }],
    ["negative use", { totalMb: 24_576, usedMb: -5_000 }],
    ["no memory at all", { totalMb: 0, usedMb: 0, reservedMb: 0 }],
    ["a negative card", { totalMb: -24_576, usedMb: 0 }],
    ["free and used beyond the total", { totalMb: 24_576, usedMb: 20_000, reservedMb: -20_000 }],
    ["a number too large to be one", { totalMb: 24_576, usedMb: 1e300 }],
    ["no number", { totalMb: 24_576, usedMb: Number.NaN }],
    ["a fraction", { totalMb: 24_576, usedMb: 0.5 }],
  ];
  let queued: Waiter | undefined;
  for (const [name, lie] of lies) {
    // The truth before: full. A lie that is believed would let something in, and so would the figures from before it.
    fake.set({ gpus: [{ uuid: gpuUuid(0), ...full }] });
    await waitFor(async () => (await accountOf(scheduler)).usedMb === full.usedMb, `the truth before ${name}`, recoveryMs);
    queued ??= new Waiter(scheduler, 8_000);
    fake.set({ gpus: [{ uuid: gpuUuid(0), ...lie }] });
    const account = await waitFor(async () => {
      const now = await accountOf(scheduler);
      return now.blocked === "" ? undefined : now;
    }, `${name} to be seen`);
    expect(account.availableMb, name).toBeUndefined();
    const codes = await refusedNow(scheduler);
    expect(["GPU_UNHEALTHY", "GPU_STATS_UNAVAILABLE"], name).toContain(codes[0]);
    expect(codes, name).toHaveLength(1);
    expect(queued.last, name).toBe("queued");
    expect(await leaseIds(scheduler), name).toEqual([]);
  }
  if (queued !== undefined) await untilServed(site, queued);
});
