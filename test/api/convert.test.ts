import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  LeaseEnd as LeaseEndProto,
  LeaseSchema,
  ReasonCode as ReasonCodeProto,
  ReasonSchema,
  WorkloadSchema,
} from "#gen/sluice/v1/types_pb.js";
import { leaseToProto } from "../../src/api/convert-lease.ts";
import { mbToProto, reasonToProto, refusalToProto } from "../../src/api/convert-reasons.ts";
import { durationToProto, timestampToProto } from "../../src/api/convert-time.ts";
import {
  requirementsFromProto,
  requirementsToProto,
  workloadFromProto,
  workloadToProto,
} from "../../src/api/convert-workload.ts";
import type { FieldViolation } from "../../src/engine/failure.ts";
import type { LeaseEnd, LeaseView, Reason, ReasonCode, Requirements, Workload } from "../../src/engine/types.ts";

const mb = fc.integer({ min: 0, max: 16_777_216 });
const uuid = fc.integer({ min: 0, max: 99 }).map((n) => `GPU-${n}`);
const requirements: fc.Arbitrary<Requirements> = fc.oneof(
  mb.map((ramMb) => ({ gpuCount: 0, vramMb: 0, ramMb, gpuUuids: [], exclusive: false })),
  fc
    .record({ vramMb: mb, ramMb: mb, gpuUuids: fc.uniqueArray(uuid, { maxLength: 64 }), exclusive: fc.boolean() })
    .chain((r) => fc.integer({ min: 1, max: r.gpuUuids.length || 64 }).map((gpuCount) => ({ gpuCount, ...r }))),
);
const plain = (maxLength: number) => fc.string({ minLength: 1, maxLength });
const workload: fc.Arbitrary<Workload> = fc
  .record({
    name: plain(60),
    tenant: plain(30),
    requirements,
    priority: fc.integer({ min: -1_000, max: 1_000 }),
    labels: fc.dictionary(plain(20), fc.string({ maxLength: 20 }), { maxKeys: 10, noNullPrototype: true }),
    expected: fc.option(fc.integer({ min: 1, max: 366 * 86_400_000 }), { nil: undefined }),
  })
  .map(({ expected, ...w }) => (expected === undefined ? w : { ...w, expectedDurationMs: expected }));

describe("what comes in", () => {
  it("requirements survive the way out and back", () => {
    fc.assert(
      fc.property(requirements, (r) => {
        const violations: FieldViolation[] = [];
        expect(requirementsFromProto(requirementsToProto(r), "r", violations)).toEqual(r);
        expect(violations).toEqual([]);
      }),
    );
  });

  it("a workload survives the way over the wire and back", () => {
    fc.assert(
      fc.property(workload, (w) => {
        const violations: FieldViolation[] = [];
        const wire = fromBinary(WorkloadSchema, toBinary(WorkloadSchema, workloadToProto(w)));
        const back = workloadFromProto(wire, "w", violations);
        expect({ ...back, labels: { ...back.labels } }).toEqual(w);
        expect(violations).toEqual([]);
      }),
    );
  });

  it("what is left out gets its default", () => {
    const violations: FieldViolation[] = [];
    const bare = workloadFromProto(
      workloadToProto({
        name: "",
        tenant: "",
        priority: 0,
        labels: {},
        requirements: { gpuCount: 0, vramMb: 0, ramMb: 0, gpuUuids: [], exclusive: false },
      }),
      "w",
      violations,
    );
    expect(bare).toMatchObject({ name: "unnamed", tenant: "default", priority: 0, requirements: { gpuCount: 0 } });
    expect(violations).toEqual([]);
    // A GPU without a number is one GPU, however little of it.
    const one = requirementsFromProto({ ...requirementsToProto(bare.requirements), requiresGpu: true }, "r", violations);
    expect(one).toMatchObject({ gpuCount: 1, vramMb: 0 });
  });
});

const lease: LeaseView = {
  id: "lease-1",
  token: Number.MAX_SAFE_INTEGER,
  workload: {
    name: "job",
    tenant: "t",
    priority: 0,
    labels: {},
    requirements: { gpuCount: 1, vramMb: 5, ramMb: 0, gpuUuids: [], exclusive: false },
  },
  gpus: [{ uuid: "GPU-a", index: 3, vramMb: 5 }],
  ramMb: 0,
  grantedAt: 1_000.4,
  ttlMs: 60_000,
  hold: "ttl",
  state: "idle",
  requestId: "",
  executions: 0,
  policy: "queue",
  processes: ["12:99", "13:?"],
  overcommitted: false,
};

describe("what goes out", () => {
  it("a lease can be written down whatever its token is, and an unknown number is absent, not 0", () => {
    const wire = fromBinary(LeaseSchema, toBinary(LeaseSchema, leaseToProto(lease, { A: "b" })));
    expect(wire).toMatchObject({ token: 9007199254740991n, pids: [12, 13], env: { A: "b" }, end: LeaseEndProto.UNSPECIFIED });
    expect(wire.expiresAt).toBeUndefined();
    expect(wire.gpus[0]?.residentMb).toBeUndefined();
    expect(
      leaseToProto({ ...lease, gpus: [{ uuid: "GPU-a", index: 3, vramMb: 5, residentMb: 0 }] }, {}).gpus[0]?.residentMb,
    ).toBe(0);
  });

  it("every end of a lease has a word of its own", () => {
    const all: LeaseEnd[] = ["released", "expired", "process-exited", "stream-closed", "evicted", "unclaimed"];
    const words = all.map((end) => leaseToProto({ ...lease, end }, {}).end);
    expect(new Set(words).size).toBe(all.length);
    expect(words).not.toContain(LeaseEndProto.UNSPECIFIED);
    expect(words.length).toBe(Object.keys(LeaseEndProto).filter((k) => Number.isNaN(Number(k))).length - 1);
  });

  it("every reason has a code of its own, and its numbers only where they are known", () => {
    const names = Object.keys(ReasonCodeProto).filter((k) => Number.isNaN(Number(k)) && k !== "UNSPECIFIED");
    for (const code of names as ReasonCode[]) {
      const wire = reasonToProto({ code, message: "m" });
      expect(ReasonCodeProto[wire.code]).toBe(code);
      expect(wire).not.toHaveProperty("availableMb");
      expect(wire.gpuUuid).toBeUndefined();
    }
  });

  it("no number of the books is too small, too large or too broken to be sent", () => {
    const numbers = fc.oneof(fc.double({ noNaN: true }), fc.integer(), fc.constantFrom(-0.4, 0xffff_ffff + 0.6, 1e300));
    fc.assert(
      fc.property(numbers, numbers, (needed, available) => {
        const reason: Reason = {
          code: "QUOTA",
          message: "m",
          neededMb: needed,
          availableMb: available,
          heldBy: Array(40).fill("x"),
        };
        const wire = fromBinary(ReasonSchema, toBinary(ReasonSchema, reasonToProto(reason)));
        expect(wire.neededMb).toBe(mbToProto(needed));
        expect(wire.heldBy).toHaveLength(16);
      }),
    );
    // "Available" ends at 0 for people, although the books go below.
    expect(mbToProto(-5)).toBe(0);
  });

  it("moments and lengths of time come back to the millisecond", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), (ms) => {
        expect(timestampMs(timestampToProto(ms))).toBe(Math.round(ms));
        expect(durationMs(durationToProto(ms))).toBe(Math.round(ms));
      }),
    );
    expect(durationMs(durationToProto(-3))).toBe(0);
  });

  it("a refusal carries what would fit only when something would", () => {
    const reasons: Reason[] = [{ code: "NO_GPU", message: "m" }];
    expect(refusalToProto({ reasons }).largestThatFits).toBeUndefined();
    expect(refusalToProto({ reasons, largestThatFits: { gpuCount: 2, vramMb: 10, ramMb: 0 } }).largestThatFits).toMatchObject({
      requiresGpu: true,
      gpuCount: 2,
      minGpuVramMb: 10,
    });
  });
});
