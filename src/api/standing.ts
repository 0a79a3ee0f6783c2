import type { Millis } from "../engine/sample.ts";
import type { Reason, TicketView } from "../engine/types.ts";

/** Where a ticket stands at one moment, as far as its reader cares. */
export interface Standing {
  readonly at: Millis;
  readonly position: number;
  readonly queueLength: number;
  readonly reasons: string;
  readonly eta: Millis | undefined;
  readonly expectedStart: Millis | undefined;
}

/** Many tickets wait for the same reasons, which are the same list then. */
const texts = new WeakMap<readonly Reason[], string>();

export function standingOf(ticket: TicketView, at: Millis): Standing {
  const { position, queueLength, reasons, eta, expectedStart } = ticket;
  let text = texts.get(reasons);
  if (text === undefined) {
    text = JSON.stringify(reasons);
    texts.set(reasons, text);
  }
  return { at, position, queueLength, reasons: text, eta, expectedStart };
}

/**
 * True when there is something new to tell. The passing of time alone is not news. An estimate is a little different at every
 * look: it is news when it comes, goes, or moves by a second and by a tenth of the wait that was told.
 */
export function isNews(told: Standing, now: Standing): boolean {
  if (told.position !== now.position || told.queueLength !== now.queueLength || told.eta !== now.eta) return true;
  if (told.reasons !== now.reasons) return true;
  const [before, after] = [told.expectedStart, now.expectedStart];
  if (before === undefined || after === undefined) return before !== after;
  // What is overdue is expected from one moment to the next, and has not moved by that.
  const moved = Math.abs(Math.max(after, now.at) - Math.max(before, now.at));
  return moved > Math.max(1_000, (before - told.at) / 10);
}
