import type { Millis } from "../engine/sample.ts";

const firstBackOffMs = 1_000;
const longestBackOffMs = 60_000;
const alikeToOpen = 3;
const firstOpenMs = 60_000;
const longestOpenMs = 900_000;
const maxErrorLength = 500;

/**
 * Where a breaker is.
 *
 * ```
 * CLOSED ──failed──▶ BACKING_OFF ──started──▶ HALF_OPEN ──succeeded──▶ CLOSED
 *                                               │ failed
 *                                               ├─ less than 3 alike in a row ──▶ BACKING_OFF
 *                                               └─ 3 or more alike in a row ────▶ OPEN ──started──▶ HALF_OPEN
 * ```
 *
 * - CLOSED: a start is allowed.
 * - BACKING_OFF: a start failed; the next is allowed after 1 s, doubled by every failure in a row up to 60 s.
 * - OPEN: as BACKING_OFF, but executions are refused at once instead of waiting. 60 s, doubled up to 15 min each time that the one
 *   attempt after it fails alike.
 * - HALF_OPEN: the one attempt that a back-off or an opening ended in. No other is allowed until it has ended.
 *
 * A success, and `reset`, lead to CLOSED from everywhere and forget every failure. A failure counts wherever it finds the breaker.
 * One that is not like the one before is the first of its kind: it is counted from 1, and the next opening is of 60 s again. Time
 * that has passed changes no state; it only allows the next start.
 */
type State =
  | { readonly kind: "closed" }
  | { readonly kind: "backing-off" | "open"; readonly until: Millis }
  /** `from`: where it goes back to when the attempt ends without saying anything. */
  | { readonly kind: "half-open"; readonly from: "backing-off" | "open" };

export type BreakerStateName = State["kind"];

/** Why a start failed. `kind` is a stable word; `message` one sentence for people, whose numbers do not matter for likeness. */
export interface StartFailure {
  readonly kind: string;
  readonly message: string;
}

/** `open`: do not wait until `retryAt` but refuse at once. */
export type StartVerdict = { readonly ok: true } | { readonly ok: false; readonly retryAt: Millis; readonly open: boolean };

/** A breaker as the outside sees it. */
export interface BreakerView {
  readonly state: BreakerStateName;
  /** Failures in a row that were alike. */
  readonly failures: number;
  /** Absent when an attempt may be made now, or is being made. */
  readonly nextAttemptAt?: Millis;
  /** The last failure, in one sentence; empty when there was none since the last success. */
  readonly lastError: string;
}

/**
 * Keeps a worker that fails to start from being started over and over again. Pure: time is passed in, in ms, and never goes back.
 * Whoever asks with `mayStart` and gets a yes calls `started` in the same step, and says how that ended.
 */
export class Breaker {
  #state: State = { kind: "closed" };
  /** Failures since the last success, alike or not. */
  #failures = 0;
  #alike = 0;
  #openings = 0;
  #likeness = "";
  #lastError = "";
  #subject = "";

  /** What is to be started. What failed before it was another version or configuration does not count. */
  isAbout(subject: string): void {
    if (subject !== this.#subject) this.reset();
    this.#subject = subject;
  }

  mayStart(now: Millis): StartVerdict {
    switch (this.#state.kind) {
      case "closed":
        return { ok: true };
      case "half-open":
        // When the attempt ends is not known.
        return { ok: false, retryAt: now + firstBackOffMs, open: this.#state.from === "open" };
      default:
        if (now >= this.#state.until) return { ok: true };
        return { ok: false, retryAt: this.#state.until, open: this.#state.kind === "open" };
    }
  }

  /** A start is being made. */
  started(): void {
    const { kind } = this.#state;
    if (kind === "backing-off" || kind === "open") this.#state = { kind: "half-open", from: kind };
  }

  /** The worker is ready. */
  succeeded(): void {
    this.reset();
  }

  failed(now: Millis, failure: StartFailure): void {
    const likeness = likenessOf(failure);
    const alike = this.#failures > 0 && likeness === this.#likeness;
    this.#failures += 1;
    this.#alike = alike ? this.#alike + 1 : 1;
    if (!alike) this.#openings = 0;
    this.#likeness = likeness;
    this.#lastError = failure.message.slice(0, maxErrorLength);
    if (this.#alike < alikeToOpen) {
      this.#state = { kind: "backing-off", until: now + doubled(firstBackOffMs, this.#failures - 1, longestBackOffMs) };
      return;
    }
    this.#state = { kind: "open", until: now + doubled(firstOpenMs, this.#openings, longestOpenMs) };
    this.#openings += 1;
  }

  /** The attempt ended for another reason than the worker, such as an operator who stopped it: the next may be made at once. */
  abandoned(now: Millis): void {
    if (this.#state.kind === "half-open") this.#state = { kind: this.#state.from, until: now };
  }

  /** An operator wants it tried again, or it is another plugin now: what failed before does not count. */
  reset(): void {
    this.#state = { kind: "closed" };
    this.#failures = 0;
    this.#alike = 0;
    this.#lastError = "";
  }

  view(now: Millis): BreakerView {
    const state = this.#state;
    const waits = "until" in state && state.until > now;
    return {
      state: state.kind,
      failures: this.#alike,
      ...(waits ? { nextAttemptAt: state.until } : {}),
      lastError: this.#lastError,
    };
  }
}

/** Alike is the same kind and the same words: what has a digit in it (sizes, ids, addresses, temporary names) differs each time. */
function likenessOf({ kind, message }: StartFailure): string {
  const words = message
    .slice(0, 1_024)
    .toLowerCase()
    .replace(/[\p{L}_]*\d[\p{L}\d_]*/gu, "#")
    .replace(/#(?:[.,:-]#)+/g, "#")
    .replace(/\s+/g, " ")
    .trim();
  return `${kind}\n${words}`;
}

function doubled(first: Millis, times: number, longest: Millis): Millis {
  return Math.min(longest, first * 2 ** Math.min(times, 30));
}
