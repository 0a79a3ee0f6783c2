import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { duration, text, wholeNumber } from "../../src/api/fields.ts";
import type { FieldViolation } from "../../src/engine/failure.ts";

const make = (seconds: bigint, nanos = 0): Duration => create(DurationSchema, { seconds, nanos });

function check<T>(run: (violations: FieldViolation[]) => T): { value: T; violations: FieldViolation[] } {
  const violations: FieldViolation[] = [];
  return { value: run(violations), violations };
}

describe("text", () => {
  it("is judged by its bytes, not by its characters", () => {
    expect(check((v) => text("€€€", "f", 9, v)).violations).toEqual([]);
    expect(check((v) => text("€€€", "f", 8, v)).violations).toEqual([
      { field: "f", description: "must be at most 8 bytes of UTF-8, got 9" },
    ]);
    expect(check((v) => text("x".repeat(20), "f", 8, v)).violations[0]?.description).toBe(
      "must be at most 8 bytes of UTF-8, got at least 20",
    );
  });

  it("comes back as it is when it is well, and empty with one violation when it is not", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 40 }), fc.integer({ min: 0, max: 60 }), (value, max) => {
        const { value: checked, violations } = check((v) => text(value, "f", max, v));
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not pass.
        const well = Buffer.byteLength(value) <= max && !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(value);
        expect(violations.length).toBe(well ? 0 : 1);
        expect(checked).toBe(well ? value : "");
      }),
    );
  });
});

describe("a whole number", () => {
  it("is what is between its limits, and nothing else is", () => {
    const limits = fc.tuple(fc.integer(), fc.integer()).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
    const numbers = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(Number.NaN, Infinity, -Infinity, 0.5, 2 ** 53));
    fc.assert(
      fc.property(numbers, limits, (value, [min, max]) => {
        const { value: checked, violations } = check((v) => wholeNumber(value, "f", min, max, v));
        const well = Number.isInteger(value) && value >= min && value <= max;
        expect(violations.length).toBe(well ? 0 : 1);
        expect(checked).toBe(well ? value : min);
      }),
    );
  });
});

describe("a duration", () => {
  it("that is not set is not judged", () => {
    expect(check((v) => duration(undefined, "f", 1, 2, v))).toEqual({ value: undefined, violations: [] });
  });

  it("is rounded up to the millisecond, so that nothing asked for becomes nothing", () => {
    expect(check((v) => duration(make(0n, 1), "f", 1, 1_000, v)).value).toBe(1);
    expect(check((v) => duration(make(2n, 1_500_000), "f", 0, 5_000, v)).value).toBe(2_002);
  });

  it("names its limits in the unit that reads best", () => {
    const { violations } = check((v) => duration(make(9n), "f", 100, 3_000, v));
    expect(violations).toEqual([{ field: "f", description: "must be from 100 ms to 3 s, got 9 s" }]);
  });

  it("is accepted exactly when it is well formed and between its limits, whatever 64 and 32 bits can hold", () => {
    const seconds = fc.oneof(fc.bigInt({ min: -10n, max: 10n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
    const nanos = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(0, 1, -1, 999_999_999, 10 ** 9));
    fc.assert(
      fc.property(seconds, nanos, (s, n) => {
        const { value, violations } = check((v) => duration(make(s, n), "f", 0, 5_000, v));
        const formed = Math.abs(n) < 1e9 && (s === 0n || n === 0 || s < 0n === n < 0);
        const exact = s * 1_000_000_000n + BigInt(n);
        const within = exact >= 0n && exact <= 5_000_000_000n;
        expect(violations.length).toBe(formed && within ? 0 : 1);
        if (violations.length === 0) expect(value).toBe(Math.ceil(Number(exact) / 1e6) + 0);
        else expect(value).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});
