import type { Millis } from "../engine/sample.ts";
import type { EngineState } from "../engine/state.ts";
import type { MemoryProfiles } from "../executor/memory-profile.ts";
import type { Log } from "../observe/log.ts";
import type { Store } from "../store/store.ts";

/** How much of what was learned a crash may lose. None of it is a promise. */
const saveEveryMs = 30_000;

export interface LearnedRooms {
  readonly state: Pick<EngineState, "fairShare" | "durations" | "keepValues">;
  readonly profiles: MemoryProfiles;
  readonly store: Pick<Store, "learn">;
  now(): Millis;
}

/** One thing that is learned over weeks, and would be missed after a restart. */
interface Subject {
  memo(): unknown;
  takeUp(memo: never, savedAt: Millis): void;
}

/** Carries from one life of the server to the next what it has learned: use by tenants, durations, which plugins are used, memory. */
export class Learned {
  readonly #subjects: Readonly<Record<string, Subject>>;
  readonly #rooms: LearnedRooms;
  /** As it was last written. */
  readonly #written = new Map<string, string>();
  readonly #timer: NodeJS.Timeout;

  constructor(rooms: LearnedRooms) {
    const { fairShare, durations, keepValues } = rooms.state;
    const { profiles, now } = rooms;
    this.#rooms = rooms;
    this.#subjects = {
      "fair-share": {
        memo: () => fairShare.memo(now()),
        takeUp: (memo: ReturnType<typeof fairShare.memo>, savedAt) => fairShare.takeUp(memo, savedAt, now()),
      },
      durations: { memo: () => durations.memo(), takeUp: (memo: ReturnType<typeof durations.memo>) => durations.takeUp(memo) },
      "keep-values": {
        memo: () => keepValues.memo(),
        takeUp: (memo: ReturnType<typeof keepValues.memo>) => keepValues.takeUp(memo),
      },
      "memory-profiles": {
        memo: () => profiles.memo(),
        takeUp: (memo: ReturnType<typeof profiles.memo>) => profiles.takeUp(memo),
      },
    };
    this.#timer = setInterval(() => this.save(), saveEveryMs);
    this.#timer.unref();
  }

  /** @param learned as `save` wrote it. What cannot be read is left out, and said in the log. */
  takeUp(learned: ReadonlyMap<string, unknown>, log: Log): void {
    for (const [key, subject] of Object.entries(this.#subjects)) {
      const saved = learned.get(key) as { at: Millis; memo: never } | undefined;
      if (saved === undefined) continue;
      try {
        subject.takeUp(saved.memo, saved.at);
      } catch (err) {
        log.warn({ err, of: key }, "what was learned before cannot be read; it is learned anew");
      }
    }
  }

  /** Writes what has changed since the last time. */
  save(): void {
    for (const [key, subject] of Object.entries(this.#subjects)) {
      const memo = subject.memo();
      const text = JSON.stringify(memo);
      if (this.#written.get(key) === text) continue;
      this.#written.set(key, text);
      this.#rooms.store.learn(key, { at: this.#rooms.now(), memo });
    }
  }

  /** Saves for the last time. */
  stop(): void {
    clearInterval(this.#timer);
    this.save();
  }
}
