import type { Reason } from "../engine/types.ts";
import { type Deadline, deadline } from "./deadline.ts";
import { slotReason, timedOut } from "./endings.ts";
import type { Execution } from "./execution.ts";
import type { ExecutionRequest } from "./executor.ts";
import type { Outcome } from "./outcome.ts";
import type { Slots } from "./slots.ts";

/** The way of one execution to its turn: only so many of a plugin run at the same time. */
export class Turns {
  readonly #slots: Slots;
  readonly #defaultTimeoutMs: number | undefined;

  /** @param defaultTimeoutMs longest wait of requests without a timeout; undefined or 0: for ever. */
  constructor(slots: Slots, defaultTimeoutMs: number | undefined) {
    this.#slots = slots;
    this.#defaultTimeoutMs = defaultTimeoutMs;
  }

  /**
   * Begins when it is its turn, and keeps the turn until that is over. Rejects when there is no outcome to tell.
   * @param begin `wait`: what is left of the wait that was asked for, of which the wait for a turn was a part.
   */
  async take(execution: Execution, request: ExecutionRequest, begin: (wait: Deadline) => Promise<Outcome>): Promise<Outcome> {
    const wait = deadline(execution.signal, request.timeoutMs ?? this.#defaultTimeoutMs ?? 0);
    let reasons: readonly Reason[] = [];
    let leave: () => void;
    try {
      leave = await this.#slots.enter(request.plugin, wait.signal, (place) => {
        reasons = [slotReason(request.plugin, place)];
        execution.queued({ position: place.position, reasons });
      });
    } catch (error) {
      wait.stop();
      if (execution.signal.aborted) throw execution.signal.reason;
      if (wait.signal.aborted) return timedOut(request.plugin, { reasons });
      throw error;
    }
    try {
      return await begin(wait);
    } finally {
      wait.stop();
      leave();
    }
  }

  /** What is left for the gate to wait, in ms; 0: for ever. Never 0 for a wait that has an end. */
  leftMs(request: ExecutionRequest, wait: Deadline): number {
    const timeoutMs = request.timeoutMs ?? this.#defaultTimeoutMs ?? 0;
    return timeoutMs === 0 ? 0 : Math.max(1, Math.ceil(timeoutMs - wait.waitedMs()));
  }
}
