import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Journal } from "../../src/store/journal.ts";
import type { JournalAnswer, JournalRequest } from "../../src/store/journal-messages.ts";
import type { JournalThread } from "../../src/store/journal-thread.ts";
import type { Everything } from "../../src/store/store.ts";
import { change, leaseMemo } from "./support.ts";

const nothingStored = { leases: [], tickets: [], learned: [], tokenLimit: 0, boot: "" };
const full: JournalAnswer = { ok: false, problem: { what: "the disk is full", todo: "free some space" } };

/** A thread whose answers the test gives. */
class FakeThread implements JournalThread {
  readonly asked: JournalRequest[] = [];
  #answer: ((answer: JournalAnswer) => void) | undefined;

  ask(request: JournalRequest): Promise<JournalAnswer> {
    this.asked.push(request);
    return new Promise((resolve) => {
      this.#answer = resolve;
      if (request.type === "close") resolve({ ok: true });
    });
  }

  async answer(answer: JournalAnswer = { ok: true }): Promise<void> {
    this.#answer?.(answer);
    await settle();
  }

  kill(): void {}

  /** Ids of leases in the last request. */
  get ids(): readonly string[] {
    const last = this.asked.at(-1);
    if (last?.type === "replace") return last.all.leases.map((l) => l.id);
    return last?.type === "apply" ? last.batch.changes.flatMap((c) => c.leases.map((l) => l.id)) : [];
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

/** How a promise stands. */
function standing(promise: Promise<void>): { value: string } {
  const seen = { value: "open" };
  promise.then(
    () => (seen.value = "written"),
    (error: Error) => (seen.value = error.message),
  );
  return seen;
}

async function openJournal(stored: Partial<typeof nothingStored> = {}, leastToken = 100) {
  const threads: FakeThread[] = [];
  const start = vi.fn(async (): Promise<[JournalThread, JournalAnswer]> => {
    const thread = new FakeThread();
    threads.push(thread);
    return [thread, { ok: true, stored: { ...nothingStored, ...stored } }];
  });
  const opening = Journal.open({ start, stallMs: 10_000, retryMs: 3_000 }, leastToken);
  await settle();
  await threads[0]?.answer();
  const { journal, kept } = await opening;
  const world = { all: { leases: [], tickets: [] } as Everything, told: [] as string[] };
  journal.attach({
    everything: () => world.all,
    failed: (failure) => world.told.push(`failed: ${failure.message}`),
    recovered: () => world.told.push("recovered"),
  });
  return { journal, kept, threads, start, world, thread: threads[0] as FakeThread };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("the journal", () => {
  it("says that something is written when it is on the disk, and not before", async () => {
    const { journal, thread } = await openJournal();
    expect(journal.pending()).toBeUndefined();
    const written = standing(journal.write(change([leaseMemo(1)])));
    await settle();
    expect(written.value).toBe("open");
    expect(journal.pending()).toBeDefined();
    await thread.answer();
    expect(written.value).toBe("written");
    expect(journal.pending()).toBeUndefined();
  });

  it("writes what comes while the disk is busy in one go, in order", async () => {
    const { journal, thread } = await openJournal();
    const before = thread.asked.length;
    const all = Array.from({ length: 1_000 }, (_, n) => standing(journal.write(change([leaseMemo(n)]))));
    expect(thread.asked.length).toBe(before + 1);
    await thread.answer();
    expect(thread.asked.length).toBe(before + 2);
    expect(thread.ids).toEqual(Array.from({ length: 999 }, (_, n) => `lease-${n + 1}`));
    expect(all.filter((w) => w.value === "written")).toHaveLength(1);
    await thread.answer();
    expect(all.every((w) => w.value === "written")).toBe(true);
  });

  it("that cannot write says so before anything is rejected, and takes nothing new", async () => {
    const { journal, thread, world } = await openJournal();
    const order: string[] = [];
    const first = journal.write(change([leaseMemo(1)])).catch((e: Error) => order.push(`first: ${e.message}`));
    const second = journal.write(change([leaseMemo(2)])).catch(() => order.push("second"));
    journal.attach({ everything: () => world.all, failed: () => order.push("told"), recovered: () => {} });
    await thread.answer(full);
    await Promise.all([first, second]);
    expect(order).toEqual([
      "told",
      "first: the state cannot be kept, so nothing new is promised: the disk is full; free some space",
      "second",
    ]);
    await expect(journal.write(change([leaseMemo(3)]))).rejects.toMatchObject({ reason: "STATE_UNAVAILABLE" });
    expect(journal.pending()).toBeUndefined();
  });

  it("tries again until all that is promised then is on the disk, together with what came while it was written", async () => {
    const { journal, thread, threads, world } = await openJournal();
    journal.write(change([leaseMemo(1)])).catch(() => {});
    await thread.answer(full);
    world.all = { leases: [leaseMemo(7)], tickets: [] };
    await vi.advanceTimersByTimeAsync(2_999);
    expect(threads).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    await settle();
    const next = threads[1] as FakeThread;
    expect(next.asked.map((r) => r.type)).toEqual(["replace"]);
    expect(next.ids).toEqual(["lease-7"]);
    const meanwhile = standing(journal.write(change([leaseMemo(8)])));
    await settle();
    expect(world.told).toHaveLength(1);
    await next.answer();
    expect(world.told.at(-1)).toBe("recovered");
    expect(next.ids).toEqual(["lease-8"]);
    await next.answer();
    expect(meanwhile.value).toBe("written");
  });

  it("that fails again while it is written anew says so and tries again", async () => {
    const { journal, thread, threads, world } = await openJournal();
    journal.write(change([leaseMemo(1)])).catch(() => {});
    await thread.answer(full);
    await vi.advanceTimersByTimeAsync(3_000);
    const meanwhile = standing(journal.write(change([leaseMemo(2)])));
    await (threads[1] as FakeThread).answer(full);
    expect(meanwhile.value).toMatch(/the disk is full/);
    expect(world.told.filter((t) => t === "recovered")).toEqual([]);
    await vi.advanceTimersByTimeAsync(3_000);
    await (threads[2] as FakeThread).answer();
    expect(world.told.at(-1)).toBe("recovered");
  });

  it("does not wait for ever for a disk that hangs", async () => {
    const { journal, world } = await openJournal();
    const written = standing(journal.write(change([leaseMemo(1)])));
    await vi.advanceTimersByTimeAsync(9_999);
    expect(written.value).toBe("open");
    await vi.advanceTimersByTimeAsync(1);
    expect(written.value).toMatch(/has not answered for 10 s/);
    expect(world.told).toHaveLength(1);
  });

  it("hears nothing of a disk that answers when it was given up", async () => {
    const { journal, thread, world } = await openJournal();
    const written = standing(journal.write(change([leaseMemo(1)])));
    await vi.advanceTimersByTimeAsync(10_000);
    await thread.answer();
    expect(written.value).toMatch(/has not answered/);
    expect(world.told).toHaveLength(1);
  });

  it("never lets two lives give out the same token: what was set aside is on the disk before it is used", async () => {
    const { journal, kept, thread } = await openJournal({ tokenLimit: 5_000 }, 100);
    expect(kept.firstToken).toBe(5_000);
    const limits = () => thread.asked.map((r) => (r.type === "apply" ? r.batch.tokenLimit : undefined));
    expect(limits()).toEqual([1_005_000]);
    for (let token = 5_000; token < 505_000; token += 1_000) journal.used(token);
    expect(limits()).toEqual([1_005_000]);
    journal.used(505_000);
    expect(limits()).toEqual([1_005_000, 1_505_000]);
  });

  it("takes the later of what is stored and what the clock says as the first token", async () => {
    expect((await openJournal({ tokenLimit: 5 }, 100)).kept.firstToken).toBe(100);
  });

  it("keeps what was learned in a file that is made anew", async () => {
    const { journal, thread, threads } = await openJournal();
    journal.learn("durations", { a: 1 });
    await thread.answer();
    journal.write(change([leaseMemo(1)])).catch(() => {});
    await thread.answer(full);
    journal.learn("durations", { a: 2 });
    await vi.advanceTimersByTimeAsync(3_000);
    const last = threads[1]?.asked.at(-1);
    expect(last?.type === "replace" && last.batch.learned).toEqual([["durations", '{"a":2}']]);
  });

  it("writes what is still to be written before it is closed", async () => {
    const { journal, thread } = await openJournal();
    const written = standing(journal.write(change([leaseMemo(1)])));
    const closed = standing(journal.close());
    await settle();
    expect(closed.value).toBe("open");
    await thread.answer();
    expect(written.value).toBe("written");
    expect(thread.asked.at(-1)?.type).toBe("close");
    await settle();
    expect(closed.value).toBe("written");
  });
});
