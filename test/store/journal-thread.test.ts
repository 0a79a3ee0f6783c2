import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Journal } from "../../src/store/journal.ts";
import { startJournalThread } from "../../src/store/journal-thread.ts";
import { waitFor } from "../wait-for.ts";
import { change, folder, leaseMemo, ticketMemo } from "./support.ts";

const times = { stallMs: 10_000, retryMs: 50 };

async function open(path: string) {
  const opened = await Journal.open({ ...times, start: () => startJournalThread({ path, boot: "b" }) }, 1);
  const told: string[] = [];
  const all = { leases: [leaseMemo(9)], tickets: [ticketMemo(9)] };
  opened.journal.attach({
    everything: () => all,
    failed: (f) => told.push(f.message),
    recovered: () => told.push("recovered"),
  });
  return { ...opened, told };
}

describe("the journal over a real file in a real thread", () => {
  it("gives the next life what the last one wrote, and tokens above all of its own", async () => {
    using dir = folder();
    const path = join(dir.path, "state.db");
    const first = await open(path);
    await Promise.all([first.journal.write(change([leaseMemo(1)])), first.journal.write(change([], [ticketMemo(1)]))]);
    await first.journal.close();
    const second = await open(path);
    expect(second.kept).toMatchObject({ leases: [leaseMemo(1)], tickets: [ticketMemo(1)] });
    expect(second.boot).toBe("b");
    expect(second.kept.firstToken).toBeGreaterThanOrEqual(first.kept.firstToken + 1_000_000);
    await second.journal.close();
  });

  it("groups: a thousand concurrent writes take far fewer turns than a thousand", async () => {
    using dir = folder();
    const { journal } = await open(join(dir.path, "state.db"));
    let turns = 0;
    let last: Promise<void> | undefined;
    const all = Array.from({ length: 1_000 }, async (_, n) => {
      await Promise.resolve();
      await journal.write(change([leaseMemo(n)]));
      // Those of one turn resolve one right after the other.
      if (last === undefined) {
        turns++;
        last = Promise.resolve().then(() => undefined);
        setImmediate(() => (last = undefined));
      }
    });
    await Promise.all(all);
    expect(turns).toBeLessThan(20);
    await journal.close();
  });

  it("that is refused says in plain words why, and what to do", async () => {
    using dir = folder();
    const path = join(dir.path, "state.db");
    writeFileSync(path, "no database ".repeat(1_000));
    await expect(open(path)).rejects.toMatchObject({
      reason: "STATE_UNAVAILABLE",
      message: expect.stringMatching(
        /^the state cannot be kept: .*is not a state file.*or keep nothing with --state :memory:$/,
      ),
    });
  });

  it("whose file is removed makes it anew with all that is promised", async () => {
    using dir = folder();
    const path = join(dir.path, "state.db");
    const { journal, told } = await open(path);
    await journal.write(change([leaseMemo(1)]));
    dir[Symbol.dispose]();
    await expect(journal.write(change([leaseMemo(2)]))).rejects.toMatchObject({ reason: "STATE_UNAVAILABLE" });
    await waitFor(() => told.at(-1) === "recovered", "the file to be made anew");
    expect(told[0]).toMatch(/was removed or replaced/);
    await journal.write(change([leaseMemo(3)]));
    await journal.close();
    const next = await open(path);
    expect(next.kept.leases.map((l) => l.id)).toEqual(["lease-3", "lease-9"]);
    await next.journal.close();
  });

  it("does not keep a program from ending", async () => {
    using dir = folder();
    const { journal } = await open(join(dir.path, "state.db"));
    // The thread is only referenced while something is asked; otherwise this would be listed.
    expect(process.getActiveResourcesInfo().filter((r) => r === "MessagePort" || r === "Worker")).toEqual([]);
    await journal.close();
  });
});
