import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairShare } from "../../src/engine/fair-share.ts";

const hour = 3_600_000;

describe("fair share", () => {
  it("charges in full at once, and halves what was charged in each half-life", () => {
    const share = new FairShare(hour);
    share.charge("a", 8000, 1000);
    expect([0, 1, 2, 3].map((n) => share.usageOf("a", 1000 + n * hour))).toEqual([8000, 4000, 2000, 1000]);
    expect(share.usageOf("a", 1000 + hour / 2)).toBe(Math.round(8000 * Math.SQRT1_2));
    expect(share.usageOf("nobody", 1000)).toBe(0);
  });

  it("adds charges up as each has decayed by then", () => {
    const share = new FairShare(hour);
    share.charge("a", 1000, 0);
    share.charge("a", 1000, hour);
    expect(share.usageOf("a", hour)).toBe(1500);
  });

  it("takes a refund off, and never falls below nothing", () => {
    const share = new FairShare(hour);
    share.charge("a", 1000, 500);
    share.refund("a", 400, 500);
    expect(share.usageOf("a", 500)).toBe(600);
    share.refund("a", 5000, 500);
    expect(share.usageOf("a", 500)).toBe(0);
    share.charge("a", 100, 500);
    expect(share.usageOf("a", 500)).toBe(100);
    share.refund("nobody", 5, 500);
    expect(share.usageOf("nobody", 500)).toBe(0);
  });

  it("is off with a half-life of 0: nobody has used anything and nothing has weight", () => {
    const share = new FairShare(0);
    share.charge("a", 1000, 7);
    share.refund("b", 1000, 8);
    expect([share.usageOf("a", 7), share.usageOf("a", 9), share.weigh(1000), share.size]).toEqual([0, 0, 0, 0]);
  });

  it("weighs whole share·ms, bounded, and takes what is no number for nothing", () => {
    const share = new FairShare(hour);
    expect([1.4, 1.6, 0, -5, Number.NaN, 1e300].map((c) => share.weigh(c))).toEqual([1, 2, 0, 0, 0, 2 ** 36]);
    share.charge("a", Infinity, 0);
    expect(share.usageOf("a", 0)).toBe(2 ** 36);
  });

  it("stays right over more half-lives than a double can hold, from any start of the clock", () => {
    const share = new FairShare(1000);
    const start = 1_750_000_000_000;
    for (let s = 0; s < 5000; s++) share.charge("a", 1024, start + s * 1000);
    // 1024 · (1 + 1/2 + 1/4 + …)
    expect(share.usageOf("a", start + 4999 * 1000)).toBe(2048);
    expect(share.usageOf("a", start + 1e12)).toBe(0);
  });

  it("does not mistake a moment that was asked about before its amounts were brought back to the present", () => {
    const share = new FairShare(1000);
    share.charge("a", 1000, 0);
    expect(share.usageOf("a", 600_000)).toBe(0);
    share.charge("a", 1024, 600_000);
    expect([share.usageOf("a", 600_000), share.usageOf("a", 601_000)]).toEqual([1024, 512]);
  });

  it("does not depend on when it forgot: a rest that is nothing adds nothing to a later charge", () => {
    const usages = [0, 100].map((others) => {
      const share = new FairShare(1000);
      share.charge("a", 1000, 0);
      // 1,000 has become 0.488; with a hundred others charged it is swept.
      for (let i = 0; i < others; i++) share.charge(`other-${i}`, 1, 11_000);
      share.charge("a", 1, 11_000);
      return [share.usageOf("a", 11_000), share.usageOf("a", 12_300)];
    });
    expect(usages).toEqual([
      [1, 0],
      [1, 0],
    ]);
  });

  it("forgets tenants whose use has decayed to nothing: memory is bounded by those who have some", () => {
    const share = new FairShare(1000);
    for (let i = 0; i < 20_000; i++) share.charge(`tenant-${i}`, 1000, i * 1000);
    // Half-lives until 1,000 is less than a half: 11.
    expect(share.size).toBeLessThanOrEqual(65);
    expect(share.usageOf("tenant-19999", 19_999_000)).toBe(1000);
    expect(share.usageOf("tenant-19998", 19_999_000)).toBe(500);
  });

  it("keeps the order of two tenants while neither is charged, however long", () => {
    const amount = fc.integer({ min: 0, max: 1e9 });
    fc.assert(
      fc.property(amount, amount, fc.array(fc.integer({ min: 0, max: 10 * hour }), { maxLength: 20 }), (a, b, pauses) => {
        const share = new FairShare(hour);
        share.charge("a", Math.max(a, b), 0);
        share.charge("b", Math.min(a, b), 0);
        let now = 0;
        for (const pause of pauses) {
          now += pause;
          expect(share.usageOf("a", now)).toBeGreaterThanOrEqual(share.usageOf("b", now));
        }
      }),
    );
  });

  it("equals the sum over all charges and refunds, each decayed by itself", () => {
    const event = fc.record({
      tenant: fc.constantFrom("a", "b"),
      cost: fc.integer({ min: 1, max: 1e8 }),
      refund: fc.boolean(),
      pause: fc.integer({ min: 0, max: 5 * hour }),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const share = new FairShare(hour);
        const naive = new Map<string, number>();
        let now = 1_700_000_000_000;
        for (const { tenant, cost, refund, pause } of events) {
          for (const [t, usage] of naive) naive.set(t, usage * 2 ** (-pause / hour));
          now += pause;
          if (refund) share.refund(tenant, cost, now);
          else share.charge(tenant, cost, now);
          naive.set(tenant, Math.max(0, (naive.get(tenant) ?? 0) + (refund ? -cost : cost)));
          for (const [t, usage] of naive) expect(Math.abs(share.usageOf(t, now) - usage)).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});
