import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Breaker, type StartFailure } from "../../src/executor/breaker.ts";

const broken: StartFailure = { kind: "EXIT", message: "Its program ended with exit code 1." };
const other: StartFailure = { kind: "STALL", message: "It showed no progress for 60 s." };

/** Starts as soon as that is allowed and fails; answers how long it had to wait. */
function failAgain(breaker: Breaker, now: { at: number }, failure = broken): number {
  const before = now.at;
  const verdict = breaker.mayStart(now.at);
  if (!verdict.ok) now.at = verdict.retryAt;
  expect(breaker.mayStart(now.at)).toEqual({ ok: true });
  breaker.started();
  breaker.failed(now.at, failure);
  return now.at - before;
}

const waits = (n: number, failure: (i: number) => StartFailure = () => broken) => {
  const breaker = new Breaker();
  const now = { at: 0 };
  return Array.from({ length: n }, (_, i) => failAgain(breaker, now, failure(i)));
};

describe("a breaker", () => {
  it("lets a worker start that has not failed, and says that nothing is wrong", () => {
    const breaker = new Breaker();
    expect(breaker.mayStart(5)).toEqual({ ok: true });
    breaker.started();
    breaker.succeeded();
    expect(breaker.view(5)).toEqual({ state: "closed", failures: 0, lastError: "" });
  });

  it("backs off for a second, then two, and opens with the third failure that is alike", () => {
    const breaker = new Breaker();
    breaker.started();
    breaker.failed(100, broken);
    expect(breaker.mayStart(1_099)).toEqual({ ok: false, retryAt: 1_100, open: false });
    expect(breaker.view(1_099)).toEqual({
      state: "backing-off",
      failures: 1,
      nextAttemptAt: 1_100,
      lastError: "Its program ended with exit code 1.",
    });
    expect(breaker.mayStart(1_100)).toEqual({ ok: true });
    breaker.started();
    breaker.failed(2_000, broken);
    expect(breaker.mayStart(2_000)).toEqual({ ok: false, retryAt: 4_000, open: false });
    breaker.started();
    breaker.failed(4_000, broken);
    expect(breaker.mayStart(4_000)).toEqual({ ok: false, retryAt: 64_000, open: true });
    expect(breaker.view(4_000)).toMatchObject({ state: "open", failures: 3, nextAttemptAt: 64_000 });
    expect(breaker.view(64_000)).not.toHaveProperty("nextAttemptAt");
  });

  it("stays open for a minute, then longer by half-open attempts that fail alike, up to 15 minutes", () => {
    expect(waits(10).map((ms) => ms / 1_000)).toEqual([0, 1, 2, 60, 120, 240, 480, 900, 900, 900]);
  });

  it("never opens for failures that differ, and backs off up to a minute", () => {
    const differ = waits(9, (i) => (i % 2 === 0 ? broken : other));
    expect(differ.map((ms) => ms / 1_000)).toEqual([0, 1, 2, 4, 8, 16, 32, 60, 60]);
  });

  it("counts a different failure from 1 again, also in a half-open attempt, and opens for a minute then", () => {
    const breaker = new Breaker();
    const now = { at: 0 };
    for (let i = 0; i < 4; i += 1) failAgain(breaker, now);
    expect(breaker.view(now.at)).toMatchObject({ state: "open", failures: 4 });
    failAgain(breaker, now, other);
    expect(breaker.view(now.at)).toMatchObject({ state: "backing-off", failures: 1, lastError: other.message });
    failAgain(breaker, now, other);
    failAgain(breaker, now, other);
    expect(breaker.mayStart(now.at)).toEqual({ ok: false, retryAt: now.at + 60_000, open: true });
  });

  it("takes failures that differ in numbers and names made of numbers for alike, and other words or kinds not", () => {
    const opens = (...messages: (string | StartFailure)[]) => {
      const breaker = new Breaker();
      for (const m of messages) breaker.failed(0, typeof m === "string" ? { kind: "EXIT", message: m } : m);
      return breaker.view(0).state === "open";
    };
    expect(opens("Tried 20 MiB of 1,024", "tried 2 MiB of 512", "Tried  2.5 MiB of 8")).toBe(true);
    expect(opens("at 0x7f12ab in /tmp/tmpa1b2c", "at 0x8 in /tmp/tmpz9", "at 0xdead1 in /tmp/tmpq0q")).toBe(true);
    expect(opens("GPU-1a2b-3c4d lost", "GPU-9-8-7f lost", "GPU-0 lost")).toBe(true);
    expect(opens("no such file: a", "no such file: b", "no such file: c")).toBe(false);
    expect(opens("", "", "")).toBe(true);
    expect(opens("x", "x", { kind: "STALL", message: "x" })).toBe(false);
  });

  it("is closed by a success as if nothing had been", () => {
    const breaker = new Breaker();
    const now = { at: 0 };
    for (let i = 0; i < 6; i += 1) failAgain(breaker, now);
    const verdict = breaker.mayStart(now.at);
    now.at = verdict.ok ? now.at : verdict.retryAt;
    breaker.started();
    expect(breaker.view(now.at)).toMatchObject({ state: "half-open", failures: 6 });
    breaker.succeeded();
    expect(breaker.view(now.at)).toEqual({ state: "closed", failures: 0, lastError: "" });
    expect(Array.from({ length: 4 }, () => failAgain(breaker, now))).toEqual([0, 1_000, 2_000, 60_000]);
  });

  it("is closed by a reset, whatever it is", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 3; i += 1) breaker.failed(0, broken);
    breaker.reset();
    expect(breaker.mayStart(0)).toEqual({ ok: true });
    expect(breaker.view(0)).toEqual({ state: "closed", failures: 0, lastError: "" });
  });

  it("lets the next attempt be made at once when one was given up for another reason than the worker", () => {
    const breaker = new Breaker();
    for (let i = 0; i < 3; i += 1) breaker.failed(0, broken);
    breaker.started();
    breaker.abandoned(70_000);
    expect(breaker.view(70_000)).toMatchObject({ state: "open", failures: 3 });
    expect(breaker.mayStart(70_000)).toEqual({ ok: true });
  });

  it("keeps a message short, however long it was", () => {
    const breaker = new Breaker();
    breaker.failed(0, { kind: "EXIT", message: "x".repeat(1_000_000) });
    expect(breaker.view(0).lastError.length).toBe(500);
  });
});

type Act = { readonly after: number; readonly act: "ask" | "fail" | "fail otherwise" | "succeed" | "abandon" | "reset" };

const many = (act: Act["act"], n: number) => Array.from({ length: n }, () => act);

const acts = fc.array(
  fc.record<Act>({
    after: fc.oneof(fc.constant(0), fc.nat(3_000), fc.nat(1_000_000)),
    act: fc.constantFrom(...many("ask", 6), ...many("fail", 4), "fail otherwise", "succeed", "abandon", "reset"),
  }),
  { minLength: 20, maxLength: 60 },
);

it("allows no two attempts in one back-off, and in a half-open breaker exactly one, whatever happens when", () => {
  let halfOpen = 0;
  fc.assert(
    fc.property(acts, (sequence) => {
      const breaker = new Breaker();
      let now = 0;
      let running = false;
      let row = 0;
      let allowedFrom = 0;
      for (const { after, act } of sequence) {
        now += after;
        if (act === "ask") {
          const verdict = breaker.mayStart(now);
          if (running) {
            // Whoever failed before makes one attempt at a time.
            expect(verdict.ok).toBe(row === 0);
            continue;
          }
          expect(verdict.ok).toBe(now >= allowedFrom);
          if (!verdict.ok) {
            expect(verdict.retryAt).toBe(allowedFrom);
            continue;
          }
          breaker.started();
          running = true;
          expect(breaker.view(now).state).toBe(row === 0 ? "closed" : "half-open");
          if (row > 0) halfOpen += 1;
        } else if (act === "reset") {
          breaker.reset();
          [running, row, allowedFrom] = [false, 0, now];
        } else if (running) {
          running = false;
          if (act === "succeed") {
            breaker.succeeded();
            [row, allowedFrom] = [0, now];
          } else if (act === "abandon") {
            breaker.abandoned(now);
            allowedFrom = Math.min(allowedFrom, now);
          } else {
            breaker.failed(now, act === "fail" ? broken : other);
            row += 1;
            const { state, nextAttemptAt = 0 } = breaker.view(now);
            const wait = nextAttemptAt - now;
            if (state === "open")
              expect(wait === 900_000 || /^60000$|^120000$|^240000$|^480000$/.test(String(wait))).toBe(true);
            else expect(wait).toBe(Math.min(60_000, 1_000 * 2 ** (row - 1)));
            allowedFrom = nextAttemptAt;
          }
        }
      }
    }),
  );
  expect(halfOpen).toBeGreaterThan(50);
});
