import type { HandlerContext } from "@connectrpc/connect";
import type { WaitForResourcesRequest, WaitForResourcesResponse } from "#gen/sluice/v1/scheduler_pb.js";
import type { Millis } from "../engine/sample.ts";
import type { TicketView } from "../engine/types.ts";
import type { WaitEnd } from "../gate/audience.ts";
import type { Reader, Seat } from "../gate/seat.ts";
import { refusalToProto } from "./convert-reasons.ts";
import { isNews, type Standing, standingOf } from "./standing.ts";
import { granted, heartbeatMs, type SchedulerContext, told } from "./wait-end.ts";
import { message, queued } from "./wait-messages.ts";
import { waitFromProto } from "./wait-request.ts";

type Message = WaitForResourcesResponse;

const over: IteratorResult<Message> = { done: true, value: undefined };

/**
 * WaitForResources: the messages of one stream. A reader that is slow is told the latest state next.
 *
 * An iterator and not a generator, because ten thousand of them sleep at the same time: asleep it has a seat, a promise and what was
 * said last. NEW until its first message is asked for, WAITING while it has a seat, ENDING while `#rest` tells how the wait ended, then
 * OVER. Whoever reads it calls `return` in any of them when the call is over, however that ended.
 */
export class WaitStream implements AsyncIterableIterator<Message>, Reader {
  readonly #s: SchedulerContext;
  readonly #ctx: HandlerContext;
  #request: WaitForResourcesRequest | undefined;
  #ticketId = "";
  #requestId = "";
  #seat: Seat<WaitEnd> | undefined;
  #said: Standing | undefined;
  /** As it was found to be news, a moment ago. */
  #found: TicketView | undefined;
  #rest: AsyncIterator<Message> | undefined;
  #isOver = false;

  constructor(s: SchedulerContext, request: WaitForResourcesRequest, ctx: HandlerContext) {
    this.#s = s;
    this.#ctx = ctx;
    this.#request = request;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message>> {
    if (this.#rest !== undefined) return this.#rest.next();
    if (this.#isOver) return Promise.resolve(over);
    return this.#seat === undefined ? this.#begin() : this.#sleep(this.#seat);
  }

  /** Its reader wants no more, or was cut off: a ticket is given up or kept, as was asked for, and a grant that it has not heard of goes back. */
  async return(): Promise<IteratorResult<Message>> {
    this.#isOver = true;
    this.#leave(undefined);
    await this.#rest?.return?.();
    return over;
  }

  hasNews(changed: boolean, nextMs: Millis): boolean {
    const { gate } = this.#s;
    // It has not begun, and will begin with the latest.
    if (this.#said === undefined) return false;
    if (gate.now() - this.#said.at + nextMs > heartbeatMs) return true;
    const ticket = changed ? gate.ticket(this.#ticketId) : undefined;
    if (ticket === undefined || !isNews(this.#said, standingOf(ticket, gate.now()))) return false;
    this.#found = ticket;
    return true;
  }

  async #begin(): Promise<IteratorResult<Message>> {
    const { gate } = this.#s;
    const submit = waitFromProto(this.#request as WaitForResourcesRequest, this.#ctx);
    this.#request = undefined;
    this.#requestId = submit.requestId;
    const { reply, saved } = gate.submit(submit);
    switch (reply.type) {
      case "lease":
        return this.#end(granted(this.#s, reply.lease, "", submit.requestId, this.#ctx.signal, saved));
      case "refused":
        this.#isOver = true;
        return {
          done: false,
          value: message("", submit.requestId, { case: "refused", value: { refusal: refusalToProto(reply.refusal) } }),
        };
      case "ticket": {
        this.#ticketId = reply.ticketId;
        const seat = gate.watchTicket(reply.ticketId, this);
        this.#seat = seat;
        try {
          await saved;
        } catch (error) {
          this.#leave(undefined);
          throw error;
        }
        return this.#isOver ? this.#stopped() : this.#tell(seat);
      }
      default:
        throw new Error(`unexpected reply to a wait: ${reply.type}`);
    }
  }

  #sleep(seat: Seat<WaitEnd>): Promise<IteratorResult<Message>> {
    // Found while its reader was busy, it may be old by now.
    if (seat.isNews) this.#found = undefined;
    return seat.next().then((what) => {
      if (what === "news") return this.#tell(seat);
      if (what === "closed") return this.#hear(seat);
      return this.#stopped();
    });
  }

  /** @throws why the call was ended, where that is why. */
  #stopped(): IteratorResult<Message> {
    this.#ctx.signal.throwIfAborted();
    return over;
  }

  #tell(seat: Seat<WaitEnd>): IteratorResult<Message> | Promise<IteratorResult<Message>> {
    const ticket = seat.last === undefined ? (this.#found ?? this.#s.gate.ticket(this.#ticketId)) : undefined;
    this.#found = undefined;
    // Its end is there, or on its way.
    if (ticket === undefined) return this.#sleep(seat);
    this.#said = standingOf(ticket, this.#s.gate.now());
    return { done: false, value: queued(ticket) };
  }

  #hear(seat: Seat<WaitEnd>): Promise<IteratorResult<Message>> {
    const end = seat.last as WaitEnd;
    this.#leave(end);
    return this.#end(told(this.#s, end, this.#ticketId, this.#requestId, this.#ctx.signal));
  }

  #end(rest: AsyncIterator<Message>): Promise<IteratorResult<Message>> {
    this.#rest = rest;
    return rest.next();
  }

  /** @param heard the end that its reader is told; undefined: it goes before, and a grant that came meanwhile was not heard of. */
  #leave(heard: WaitEnd | undefined): void {
    const seat = this.#seat;
    if (seat === undefined) return;
    this.#seat = undefined;
    const { gate } = this.#s;
    gate.leaveTicket(this.#ticketId, seat);
    const missed = seat.last;
    if (heard === undefined && missed?.type === "granted") gate.step({ type: "undelivered", leaseId: missed.lease.id });
  }
}
