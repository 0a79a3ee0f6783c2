import type { Failure } from "../engine/failure.ts";
import type { Millis } from "../engine/sample.ts";
import type { LeaseEnd, LeaseId, LeaseView, Reason, Refusal, TicketId } from "../engine/types.ts";
import { Mailbox } from "./mailbox.ts";
import { Rounds } from "./rounds.ts";
import { type Reader, Seat } from "./seat.ts";

/** How a ticket's wait ended. */
export type WaitEnd =
  | { readonly type: "granted"; readonly lease: LeaseView }
  | { readonly type: "refused"; readonly refusal: Refusal }
  | { readonly type: "timed-out"; readonly waitedMs: Millis; readonly reasons: readonly Reason[] }
  | { readonly type: "failed"; readonly failure: Failure };

/** Whoever listens: for one ticket, for one lease, or for everything. */
export class Audience {
  /** Almost always one for each, which a list holds in a tenth of what a set takes. */
  readonly #tickets = new Map<TicketId, readonly Seat<WaitEnd>[]>();
  readonly #leases = new Map<LeaseId, Set<Mailbox<LeaseEnd | Failure>>>();
  readonly #all = new Set<Mailbox<Failure>>();
  /** Those who wait, in the order in which they came. */
  readonly #waiting = new Set<Seat<WaitEnd>>();
  readonly #rounds = new Rounds(this.#waiting);

  watchTicket(id: TicketId, reader: Reader): Seat<WaitEnd> {
    const seat = new Seat<WaitEnd>(reader);
    this.#tickets.set(id, [...(this.#tickets.get(id) ?? []), seat]);
    this.#waiting.add(seat);
    this.#rounds.joined();
    return seat;
  }

  /** Answers how many still listen. */
  leaveTicket(id: TicketId, seat: Seat<WaitEnd>): number {
    this.#waiting.delete(seat);
    seat.leave();
    const left = (this.#tickets.get(id) ?? []).filter((one) => one !== seat);
    if (left.length === 0) this.#tickets.delete(id);
    else this.#tickets.set(id, left);
    return left.length;
  }

  hasTicket(id: TicketId): boolean {
    return this.#tickets.has(id);
  }

  closeTicket(id: TicketId, end: WaitEnd): void {
    for (const seat of this.#tickets.get(id) ?? []) {
      this.#waiting.delete(seat);
      seat.close(end);
    }
    this.#tickets.delete(id);
  }

  watchLease(id: LeaseId): Mailbox<LeaseEnd | Failure> {
    const mailbox = new Mailbox<LeaseEnd | Failure>();
    addTo(this.#leases, id, mailbox);
    return mailbox;
  }

  leaveLease(id: LeaseId, mailbox: Mailbox<LeaseEnd | Failure>): void {
    removeFrom(this.#leases, id, mailbox);
  }

  pokeLease(id: LeaseId): void {
    for (const mailbox of this.#leases.get(id) ?? []) mailbox.poke();
  }

  closeLease(id: LeaseId, why: LeaseEnd): void {
    for (const mailbox of this.#leases.get(id) ?? []) mailbox.close(why);
  }

  watchState(): Mailbox<Failure> {
    const mailbox = new Mailbox<Failure>();
    this.#all.add(mailbox);
    return mailbox;
  }

  leaveState(mailbox: Mailbox<Failure>): void {
    this.#all.delete(mailbox);
  }

  /** Places, reasons or books changed. */
  changed(): void {
    this.#rounds.changed();
    this.measured();
  }

  /** Figures of the machine changed, which those who wait are not told. */
  measured(): void {
    for (const mailbox of this.#all) mailbox.poke();
  }

  /** Those who would otherwise keep the server for the whole grace time, and have nothing to hear any more. */
  dismissWatchers(failure: Failure): void {
    for (const mailbox of this.#all) mailbox.close(failure);
    for (const mailboxes of this.#leases.values()) for (const mailbox of mailboxes) mailbox.close(failure);
  }
}

function addTo<T>(map: Map<string, Set<T>>, id: string, item: T): void {
  const set = map.get(id);
  if (set === undefined) map.set(id, new Set([item]));
  else set.add(item);
}

/** Answers how many are left. */
function removeFrom<T>(map: Map<string, Set<T>>, id: string, item: T): number {
  const set = map.get(id);
  if (set === undefined) return 0;
  set.delete(item);
  if (set.size === 0) map.delete(id);
  return set.size;
}
