import type { Millis } from "../engine/sample.ts";

/** Changes that come within this time of each other are told together. */
export const settleMs: Millis = 100;
/** The first change after a quiet time waits only for what belongs to it. */
export const soonMs: Millis = 10;
const quietMs: Millis = 1_000;
/** How many are told something in a second in the long run. More would take the time that decisions need, and nobody reads faster. */
const perSecond = 2_000;
/** After a quiet time so many are told something as fast as it goes: one round of ten thousand. */
const atMostSaved = 10_000;
/** How many are told something before something else has its turn: a few milliseconds. */
const atOnce = 50;
const pauseMs: Millis = 50;
/** Beyond 20,000 it is more all the same: with a rest after it, a round is to be over within the 15 s in which each hears something. */
const longestRoundMs: Millis = 10_000;
/** When nothing changes, those who have not heard anything for long are looked for so often. */
const beatMs: Millis = 2_000;

/** What one's turn took: it was told something, had to be looked at closely and was told nothing, or neither. */
export type Turn = "told" | "looked" | "passed";

/** In turns of those who are told something. */
const costOf: Record<Turn, number> = { told: 1, looked: 0.25, passed: 0 };

/** Somebody who waits. */
export interface Member {
  /**
   * It is this one's turn.
   * @param changed something may have changed for it.
   * @param nextMs when its next turn comes at the latest.
   */
  look(changed: boolean, nextMs: Millis): Turn;
}

interface Round {
  readonly turns: Iterator<Member>;
  /** How many have not had their turn. */
  left: number;
  readonly changed: boolean;
  /** When the next turn of each comes at the latest. */
  readonly nextMs: Millis;
}

/**
 * Has all who wait look at what has changed, in rounds and at a pace: a change costs the same however many wait, and what grows with
 * their number is how long the news takes to the last of them, when one change follows the other (5 s with 10,000). Who is due a
 * grant does not wait for that.
 */
export class Rounds {
  readonly #members: ReadonlySet<Member>;
  #timer: NodeJS.Timeout | undefined;
  /** A round is going on, or about to begin because of a change. */
  #isUnderWay = false;
  /** So many may be told something now, and when that was reckoned. */
  #saved = atMostSaved;
  #savedAt: Millis = performance.now();
  /** When the last change began to be told. */
  #toldAt: Millis = Number.NEGATIVE_INFINITY;
  /** Something has changed since the round that is going on began. */
  #changedSince = false;

  /** @param members those who have waited longest first: they are first in each round. */
  constructor(members: ReadonlySet<Member>) {
    this.#members = members;
  }

  /** Somebody has joined the members. */
  joined(): void {
    if (this.#timer === undefined) this.#rest();
  }

  /** Something changed. Everybody who is there has a look once, however often that happens until then. */
  changed(): void {
    if (this.#isUnderWay) this.#changedSince = true;
    else if (this.#members.size > 0) this.#beginSoon();
  }

  #beginSoon(): void {
    this.#isUnderWay = true;
    this.#after(performance.now() - this.#toldAt > quietMs ? soonMs : settleMs, () => this.#begin(true));
  }

  #begin(changed: boolean): void {
    this.#isUnderWay = true;
    this.#changedSince = false;
    if (changed) this.#toldAt = performance.now();
    const { size } = this.#members;
    const nextMs = beatMs + Math.ceil((1_000 * size) / this.#rate());
    // Those who come meanwhile know the latest, and could keep a round from ending.
    this.#go({ turns: this.#members.values(), left: size, changed, nextMs });
  }

  #go(round: Round): void {
    const atMost = Math.min(atOnce, this.#save());
    for (let cost = 0; cost < atMost && round.left > 0; round.left--) {
      const { value, done } = round.turns.next();
      if (done) {
        round.left = 0;
        break;
      }
      const its = costOf[value.look(round.changed, round.nextMs)];
      cost += its;
      this.#saved -= its;
    }
    if (round.left > 0) {
      if (this.#saved >= 1) setImmediate(() => this.#go(round)).unref();
      else this.#after(pauseMs, () => this.#go(round));
    } else if (this.#changedSince) this.#beginSoon();
    else this.#rest();
  }

  /** How many are told something in a second in the long run. */
  #rate(): number {
    return Math.max(perSecond, (1_000 * this.#members.size) / longestRoundMs);
  }

  #save(): number {
    const now = performance.now();
    const more = ((now - this.#savedAt) * this.#rate()) / 1_000;
    this.#savedAt = now;
    this.#saved = Math.min(atMostSaved, this.#saved + more);
    return this.#saved;
  }

  #rest(): void {
    this.#isUnderWay = false;
    this.#timer = undefined;
    if (this.#members.size > 0) this.#after(beatMs, () => this.#begin(false));
  }

  #after(ms: Millis, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
    this.#timer.unref();
  }
}
