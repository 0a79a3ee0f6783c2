import { durationMs } from "@bufbuild/protobuf/wkt";
import type { WaitForResourcesResponse } from "#gen/sluice/v1/scheduler_pb.js";
import type { Lease } from "#gen/sluice/v1/types_pb.js";
import { type AbortLink, linkAborts } from "./abort-link.ts";
import { clientClosed, giveBack, within } from "./calls.ts";
import { notNeeded } from "./clock.ts";
import { errorFrom, refused } from "./error-from.ts";
import { type SluiceError, TimedOut, Unreachable } from "./errors.ts";
import type { Ground } from "./ground.ts";
import { Patience } from "./patience.ts";
import { type Asked, waitMessage } from "./request.ts";
import { Waiting } from "./told.ts";

/** How long leaving the queue may take, in ms. */
const leaveMs = 1_000;

/** A wait says something at least every 15 s. Where nothing asks the line for a sign of life, three that did not come are one. */
const silenceMs = 45_000;

/** Told of each change; what it throws ends the wait, and the request leaves the queue. */
export type OnProgress = (waiting: Waiting) => unknown;

/**
 * Waits for a lease. A connection that breaks is made anew, and the place found again by the request's id.
 * @param signal takes the request out of the queue; its reason is thrown. A grant that was on its way is given back.
 */
export async function waitForLease(
  ground: Ground,
  asked: Asked & { readonly requestId: string },
  onProgress: OnProgress | undefined,
  signal: AbortSignal | undefined,
): Promise<Lease> {
  return new Wait(ground, asked, onProgress).run(signal);
}

class Wait {
  readonly #ground: Ground;
  readonly #asked: Asked;
  readonly #onProgress: OnProgress | undefined;
  readonly #patience: Patience;
  /** Aborted, with what is to be thrown, when the request is to leave the queue. */
  readonly #leaving = new AbortController();
  /** When the stream began, or said something last. */
  #heardAt = 0;
  #ticketId = "";
  #ticketCancelled = false;

  constructor(ground: Ground, asked: Asked, onProgress: OnProgress | undefined) {
    this.#ground = ground;
    this.#asked = asked;
    this.#onProgress = onProgress;
    this.#patience = new Patience(asked.timeoutMs, ground.clock.now());
  }

  async run(signal: AbortSignal | undefined): Promise<Lease> {
    signal?.throwIfAborted();
    const leave = () => this.#leave(signal?.reason);
    signal?.addEventListener("abort", leave);
    try {
      return await this.#askUntilAnswered();
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  async #askUntilAnswered(): Promise<Lease> {
    const { clock, closed, door } = this.#ground;
    for (;;) {
      let failure: SluiceError;
      try {
        const lease = await this.#ask();
        if (lease === undefined) throw new Unreachable(`the server at ${door.address} ended the wait without an answer`);
        if (!this.#leaving.signal.aborted) return lease;
        // It was on its way when the request was to leave the queue.
        await giveBack(this.#ground, lease);
        throw this.#leaving.signal.reason;
      } catch (error) {
        if (closed.aborted) throw clientClosed();
        this.#leaving.signal.throwIfAborted();
        failure = errorFrom(error, door.address);
      }
      const pauseMs = this.#patience.pauseMs(failure, clock.now());
      const link = linkAborts(this.#leaving.signal, closed);
      await clock.sleep(pauseMs, link.signal);
      link.letGo();
      if (this.#leaving.signal.aborted) {
        await this.#cancelTicket();
        throw this.#leaving.signal.reason;
      }
    }
  }

  /** One stream. Undefined when it ends and has said nothing final. */
  async #ask(): Promise<Lease | undefined> {
    const { clock, closed, scheduler } = this.#ground;
    const call = linkAborts(closed);
    const over = new AbortController();
    const { signal: leaving } = this.#leaving;
    // The stream is read on while the request leaves the queue, because it may be granted meanwhile.
    const limit = () => {
      void this.#cancelTicket();
      void clock.sleep(leaveMs, over.signal).then((rang) => rang && call.abort());
    };
    leaving.addEventListener("abort", limit);
    this.#heardAt = clock.now();
    void this.#endSilence(call, over.signal);
    try {
      const request = waitMessage(this.#asked, this.#patience.leftMs(clock.now()));
      for await (const message of scheduler.waitForResources(request, { signal: call.signal })) {
        this.#heardAt = clock.now();
        this.#patience.heard(this.#heardAt);
        this.#ticketId = message.ticketId;
        const lease = this.#meaning(message);
        if (lease !== undefined) return lease;
        if (leaving.aborted) void this.#cancelTicket();
      }
      return undefined;
    } catch (error) {
      // The stacks say only that it was cancelled.
      throw call.signal.reason instanceof Unreachable ? call.signal.reason : error;
    } finally {
      over.abort(notNeeded);
      call.letGo();
      leaving.removeEventListener("abort", limit);
    }
  }

  /** The lease; undefined for a place in the queue, which is told, and for an event of a newer server, which is passed over. */
  #meaning({ event }: WaitForResourcesResponse): Lease | undefined {
    switch (event.case) {
      case "queued":
        this.#tell(new Waiting(event.value));
        return undefined;
      case "granted":
        return event.value.lease;
      case "refused":
        throw refused(event.value.refusal);
      case "timedOut": {
        const waitedMs = event.value.waited === undefined ? 0 : durationMs(event.value.waited);
        const why = event.value.reasons.map((reason) => reason.message).join("; ");
        throw new TimedOut(`waited ${(waitedMs / 1000).toFixed(1)} s in vain: ${why}`, waitedMs, event.value.reasons);
      }
      default:
        return undefined;
    }
  }

  #tell(waiting: Waiting): void {
    if (this.#onProgress === undefined || this.#leaving.signal.aborted) return;
    try {
      const answer = this.#onProgress(waiting);
      if (answer instanceof Promise) answer.catch((error: unknown) => this.#leave(error));
    } catch (error) {
      this.#leave(error);
    }
  }

  #leave(why: unknown): void {
    this.#leaving.abort(why);
  }

  /** With a request id the server would keep the place of a client that only went away. */
  async #cancelTicket(): Promise<void> {
    const { scheduler } = this.#ground;
    const ticketId = this.#ticketId;
    if (ticketId === "" || this.#ticketCancelled) return;
    this.#ticketCancelled = true;
    // At worst it leaves when its grace time is over. That it is gone already is no failure.
    await within(this.#ground, leaveMs, (signal) => scheduler.cancelTicket({ ticketId }, { signal })).catch(() => {});
  }

  /** Ends a call that says nothing for too long. One timer for all messages: they may be many, and each is waited for. */
  async #endSilence(call: AbortLink, over: AbortSignal): Promise<void> {
    const { clock } = this.#ground;
    let leftMs = silenceMs;
    while (await clock.sleep(leftMs, over)) {
      leftMs = this.#heardAt + silenceMs - clock.now();
      if (leftMs <= 0) return call.abort(new Unreachable("the server has said nothing for too long"));
    }
  }
}
