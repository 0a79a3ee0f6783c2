import { expect, it } from "vitest";
import { killedByKernel, killsNow, rememberKills } from "../../src/executor/oom-kills.ts";
import type { ExitReport } from "../../src/executor/process-group.ts";

const killed: ExitReport = { signal: "SIGKILL", weKilled: false, left: 0 };

/** A counter of the kernel that the test sets, and how often it was read. */
function counter() {
  const c = { kills: 4 as number | undefined, reads: 0, now: 0 };
  const read = async () => {
    c.reads += 1;
    return c.kills;
  };
  return { c, kills: rememberKills(read, () => c.now) };
}

it("many calls in one second read the counter once; the end of one that was killed reads it anew", async () => {
  const { c, kills } = counter();
  const before = Array.from({ length: 100 }, () => killsNow(kills));
  expect(await Promise.all(before)).toEqual(Array(100).fill(4));
  expect(c.reads).toBe(1);
  c.kills = 5;
  expect(await killedByKernel(killed, kills, killsNow(kills))).toBe(true);
  expect(c.reads).toBe(2);
  c.now += 1_000;
  await killsNow(kills);
  expect(c.reads).toBe(3);
});

it.each<[string, Partial<ExitReport>, number | undefined]>([
  ["whom we killed ourselves", { weKilled: true }, 5],
  ["who ended with a code of its own", { signal: "SIGTERM" }, 5],
  ["while the counter stands still", {}, 4],
  ["where the kernel does not tell", {}, undefined],
])("nobody is taken for out of memory %s (X4)", async (_, report, after) => {
  const { c, kills } = counter();
  const before = killsNow(kills);
  await before;
  c.kills = after;
  expect(await killedByKernel({ ...killed, ...report }, kills, before)).toBe(false);
});
