import { expect, it } from "vitest";
import { Tenure } from "../../src/client/tenure.ts";

it("the first renewal is due at once, and then three in each time to live", () => {
  const tenure = new Tenure(30_000, 100);
  expect(tenure.nextAt).toBe(100);
  tenure.renewed(1_000);
  expect(tenure.nextAt).toBe(11_000);
});

it("a lease is given up before it ends, counted from before the renewal was sent", () => {
  const tenure = new Tenure(30_000, 0);
  tenure.renewed(1_000);
  expect(tenure.giveUpAt).toBe(1_000 + 30_000 - 2_000);
  // A renewal that is sent in the last moment cannot outlast it.
  expect(tenure.callLimitMs(28_500)).toBe(500);
});

it("after a failure it is tried soon, and never only after the end", () => {
  const tenure = new Tenure(2_000, 0);
  tenure.failed(1_000);
  expect(tenure.nextAt).toBe(1_200);
  tenure.failed(1_750);
  expect(tenure.nextAt).toBe(tenure.giveUpAt);
});
