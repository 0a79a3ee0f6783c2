import { create, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { BadRequestSchema } from "#gen/google/rpc/error_details_pb.js";
import { ListQueueResponseSchema, type Queued, QueuedSchema, SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { EstimateBasis, ReasonCode } from "#gen/sluice/v1/types_pb.js";
import { queueToProto } from "../../src/api/convert-queue.ts";
import { estimateToProto } from "../../src/api/convert-time.ts";
import { isNews, type Standing } from "../../src/api/standing.ts";
import { Code, errorOf, openServices } from "./house.ts";

const minute = 60_000;

function job(vramMb: number, more: { tenant?: string; expectedMs?: number } = {}) {
  const { tenant = "", expectedMs } = more;
  return {
    resources: { requiresGpu: true, minGpuVramMb: vramMb },
    tenant,
    ...(expectedMs === undefined ? {} : { expectedDuration: durationFromMs(expectedMs) }),
  };
}

const left: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const leave of left.splice(0)) await leave();
});

/** Waits until the test is over. Answers the first message, that it waits. */
async function waiting(house: ReturnType<typeof openServices>, workload: ReturnType<typeof job>): Promise<Queued> {
  const gone = new AbortController();
  const stream = house.client(SchedulerService).waitForResources({ workload }, { signal: gone.signal });
  const messages = stream[Symbol.asyncIterator]();
  const first = await messages.next();
  left.push(() => {
    gone.abort();
    return messages.next().catch(() => undefined);
  });
  if (first.done === true || first.value.event.case !== "queued") throw new Error("expected a ticket that waits");
  return first.value.event.value;
}

describe("the discipline", () => {
  it("is shown with those that can be chosen, and set with the policy; what is left out stays", async () => {
    const scheduler = openServices({ discipline: "best-effort" }).client(SchedulerService);
    expect(await scheduler.getPolicy({})).toMatchObject({
      policy: "",
      discipline: "best-effort",
      availableDisciplines: ["strict-fifo", "best-effort", "backfill"],
    });
    expect(await scheduler.setPolicy({ policy: "queue", discipline: "strict-fifo" })).toMatchObject({
      policy: "queue",
      previous: "",
      discipline: "strict-fifo",
      previousDiscipline: "best-effort",
    });
    expect(await scheduler.setPolicy({ policy: "safety" })).toMatchObject({
      discipline: "strict-fifo",
      previousDiscipline: "strict-fifo",
    });
    expect(await scheduler.getPolicy({})).toMatchObject({ policy: "safety", discipline: "strict-fifo" });
  });

  it("decides at once about those who wait already", async () => {
    const house = openServices({ discipline: "strict-fifo" });
    const scheduler = house.client(SchedulerService);
    await scheduler.allocate({ workload: job(20_000), policy: "safety" });
    await waiting(house, job(10_000));
    const small = await waiting(house, job(1_000));
    expect(small.reasons).toMatchObject([{ code: ReasonCode.BEHIND_IN_QUEUE }]);
    await scheduler.setPolicy({ policy: "", discipline: "best-effort" });
    const { tickets } = await scheduler.listQueue({});
    expect(tickets.map((t) => t.workload?.resources?.minGpuVramMb)).toEqual([10_000]);
  });

  it("is in the log line of every grant", async () => {
    const house = openServices({ discipline: "best-effort" });
    const scheduler = house.client(SchedulerService);
    await scheduler.allocate({ workload: job(1_000) });
    await scheduler.setPolicy({ policy: "", discipline: "strict-fifo" });
    await scheduler.allocate({ workload: job(1_000) });
    const grants = house.log.map((line) => JSON.parse(line)).filter((line) => line.decision === "grant");
    expect(grants.map((line) => line.discipline)).toEqual(["best-effort", "strict-fifo"]);
  });

  it("that is not known is refused by name with those that are, and the policy beside it is not set either", async () => {
    const scheduler = openServices().client(SchedulerService);
    const error = await errorOf(scheduler.setPolicy({ policy: "safety", discipline: "sjf" }));
    expect(error?.code).toBe(Code.InvalidArgument);
    expect(error?.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([
      { field: "discipline", description: "must be one of strict-fifo, best-effort, backfill or empty" },
    ]);
    expect(await scheduler.getPolicy({})).toMatchObject({ policy: "", discipline: "backfill" });
  });
});

describe("estimates", () => {
  function within(house: ReturnType<typeof openServices>, at: Timestamp | undefined, minutes: number): void {
    const inMs = at === undefined ? Number.NaN : timestampMs(at) - house.gate.now();
    expect(inMs).toBeGreaterThan((minutes - 1) * minute);
    expect(inMs).toBeLessThan((minutes + 1) * minute);
  }

  it("a ticket is told when it probably starts, and that its owner's word is what this rests on", async () => {
    const house = openServices();
    const scheduler = house.client(SchedulerService);
    await scheduler.allocate({ workload: job(20_000, { expectedMs: 10 * minute }), policy: "safety" });
    const queued = await waiting(house, job(10_000, { expectedMs: minute }));
    within(house, queued.expectedStart, 10);
    expect(queued.estimateBasis).toBe(EstimateBasis.DECLARED);
    const [ticket] = (await scheduler.listQueue({})).tickets;
    within(house, ticket?.expectedStart, 10);
    expect(ticket?.estimateBasis).toBe(EstimateBasis.DECLARED);
  });

  it("a ticket whose start is kept against one that fits has an upper bound, and the other is told what it would delay", async () => {
    const house = openServices();
    const scheduler = house.client(SchedulerService);
    await scheduler.allocate({ workload: job(20_000, { expectedMs: 10 * minute }), policy: "safety" });
    await waiting(house, job(22_000, { expectedMs: minute }));
    const other = await waiting(house, job(3_000, { expectedMs: 60 * minute }));
    expect(other.reasons).toMatchObject([{ code: ReasonCode.HELD_FOR_EARLIER_TICKET }]);
    const [first, second] = (await scheduler.listQueue({})).tickets;
    within(house, first?.eta, 10);
    expect(second?.eta).toBeUndefined();
  });

  it("nothing is estimated where nobody said how long anything runs", async () => {
    const house = openServices();
    await house.client(SchedulerService).allocate({ workload: job(20_000), policy: "safety" });
    const queued = await waiting(house, job(10_000));
    expect([queued.eta, queued.expectedStart]).toEqual([undefined, undefined]);
    expect(queued.estimateBasis).toBe(EstimateBasis.UNSPECIFIED);
  });

  it("can be sent as binary and as JSON whatever the engine thinks, and one beyond every calendar is left out", () => {
    const anyTime = fc.option(fc.oneof(fc.double({ noNaN: true, min: 0 }), fc.integer({ min: 0 })), { nil: undefined });
    fc.assert(
      fc.property(anyTime, anyTime, fc.constantFrom("declared" as const, "learned" as const), (eta, expectedStart, basis) => {
        const wire = create(
          QueuedSchema,
          estimateToProto({
            ...(eta === undefined ? {} : { eta }),
            ...(expectedStart === undefined ? {} : { expectedStart, estimateBasis: basis }),
          }),
        );
        expect(fromBinary(QueuedSchema, toBinary(QueuedSchema, wire))).toEqual(wire);
        expect(() => toJson(QueuedSchema, wire)).not.toThrow();
        expect(wire.expectedStart === undefined).toBe(wire.estimateBasis === EstimateBasis.UNSPECIFIED);
      }),
    );
    const nothing = { estimateBasis: EstimateBasis.UNSPECIFIED };
    expect(estimateToProto({ eta: Infinity, expectedStart: 1e18, estimateBasis: "learned" })).toEqual(nothing);
  });
});

describe("what is news to whoever waits", () => {
  const standing = (at: number, expectedStart?: number, change: Partial<Standing> = {}): Standing => ({
    at,
    position: 1,
    queueLength: 1,
    reasons: "[]",
    eta: undefined,
    expectedStart,
    ...change,
  });

  it("a place, a reason or an upper bound that changes, an estimate that comes or goes, and one that moves by a tenth", () => {
    for (const change of [{ position: 2 }, { queueLength: 2 }, { reasons: "[1]" }, { eta: 5 }]) {
      expect(isNews(standing(0), standing(1, undefined, change))).toBe(true);
    }
    expect(isNews(standing(0), standing(1, 500))).toBe(true);
    expect(isNews(standing(0, 500), standing(1))).toBe(true);
    expect(isNews(standing(0, 100_000), standing(5_000, 109_000))).toBe(false);
    expect(isNews(standing(0, 100_000), standing(5_000, 111_000))).toBe(true);
    expect(isNews(standing(0, 100_000), standing(5_000, 89_000))).toBe(true);
    expect(isNews(standing(0, 2_000), standing(100, 2_900))).toBe(false);
  });

  it("the passing of time is not, also where the start is overdue and expected from one moment to the next", () => {
    const time = fc.integer({ min: 0, max: 10_000_000 });
    fc.assert(
      fc.property(time, time, time, (toldAt, later, start) => {
        const now = toldAt + later;
        expect(isNews(standing(toldAt, Math.max(toldAt, start)), standing(now, Math.max(now, start)))).toBe(false);
      }),
    );
  });
});

describe("tenants", () => {
  it("are listed with what they have, wait for and may have, in ListQueue and in WatchQueue", async () => {
    const tenantLimits = new Map([
      ["vision", { gpus: 2, vramMb: 40_000, queued: 100 }],
      ["*", { queued: 7 }],
    ]);
    const house = openServices({ tenantLimits });
    const scheduler = house.client(SchedulerService);
    await scheduler.allocate({ workload: job(20_000, { tenant: "speech", expectedMs: minute }), policy: "safety" });
    await waiting(house, job(10_000, { tenant: "text" }));
    const { tenants } = await scheduler.listQueue({});
    expect(tenants).toMatchObject([
      { tenant: "speech", waiting: 0, gpus: 1, vramMb: 20_000, maxWaiting: 7 },
      { tenant: "text", waiting: 1, gpus: 0, vramMb: 0, maxWaiting: 7 },
      { tenant: "vision", waiting: 0, gpus: 0, vramMb: 0, maxGpus: 2, maxVramMb: 40_000, maxWaiting: 100 },
    ]);
    // No limit is not a limit of 0.
    expect(tenants[0]?.maxGpus).toBeUndefined();
    const [speech, text] = tenants.map((t) => (t.usage === undefined ? undefined : durationMs(t.usage)));
    expect(speech).toBeGreaterThan(0);
    expect(text).toBe(0);
    for await (const state of scheduler.watchQueue({})) {
      expect(state.tenants.map((t) => t.tenant)).toEqual(["speech", "text", "vision"]);
      break;
    }
  });

  it("a request beyond its tenant's limits is refused with QUOTA, and the limit", async () => {
    const scheduler = openServices({ tenantLimits: new Map([["*", { vramMb: 4_000 }]]) }).client(SchedulerService);
    const { outcome } = await scheduler.allocate({ workload: job(5_000), policy: "safety" });
    expect(outcome.case === "refusal" && outcome.value.reasons[0]?.message).toContain("4,000 MiB");
  });

  it("use that no Duration can hold is told as the longest that one can", () => {
    // Guards: Connect JSON refuses a longer one, and the whole queue could not be listed any more.
    const { gate } = openServices();
    const usage = { tenant: "heavy", waiting: 0, gpus: 0, vramMb: 0, usageMs: Number.MAX_SAFE_INTEGER };
    const message = create(ListQueueResponseSchema, queueToProto({ ...gate.queue(), tenants: [usage] }));
    expect(() => toJson(ListQueueResponseSchema, message)).not.toThrow();
    expect(message.tenants[0]?.usage?.seconds).toBe(315_576_000_000n);
  });
});
