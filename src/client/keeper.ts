import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { WatchLeaseResponse } from "#gen/sluice/v1/scheduler_pb.js";
import { type Lease as LeaseMessage, LeaseState } from "#gen/sluice/v1/types_pb.js";
import { linkAborts } from "./abort-link.ts";
import { within } from "./calls.ts";
import { notNeeded } from "./clock.ts";
import { errorFrom } from "./error-from.ts";
import { InvalidRequest, LeaseGone, type SluiceError } from "./errors.ts";
import type { Ground } from "./ground.ts";
import { defaultTtlMs, Tenure } from "./tenure.ts";
import { type EvictionRequest, evictionFrom } from "./told.ts";
import { whyEnded } from "./why-ended.ts";

/** How long until a watch that broke is opened again, in ms: only a holder that listens can be asked to give memory back. */
const listenAgainMs = 500;

/** Whose lease it is. */
export interface Holder {
  readonly id: string;
  readonly token: bigint;
  /** True when it can be asked to give the memory back. */
  readonly canBeAsked: boolean;
  /** The lease as it was renewed. */
  renewed(lease: LeaseMessage): void;
  /** Its memory is asked for; undefined when it is no longer. */
  asked(request: EvictionRequest | undefined): unknown;
  /** The lease has ended although nobody here gave it back. */
  lost(why: string): void;
}

/** Keeps a lease alive: renews it three times in each time to live, and listens to what the server says about it. */
export class Keeper {
  readonly #ground: Ground;
  readonly #holder: Holder;
  readonly #ttlMs: number;
  readonly #tenure: Tenure;
  readonly #stopped = new AbortController();

  /** @param heardAt when the grant arrived, by the clock of `ground`. */
  constructor(ground: Ground, holder: Holder, ttlMs: number | undefined, heardAt: number) {
    this.#ground = ground;
    this.#holder = holder;
    this.#ttlMs = ttlMs || defaultTtlMs;
    this.#tenure = new Tenure(this.#ttlMs, heardAt);
  }

  /** Begins. What goes wrong is told to the holder. */
  start(): void {
    const { closed } = this.#ground;
    const lose = () => this.#lose("its client was closed, so nobody renews it");
    closed.addEventListener("abort", lose);
    this.#stopped.signal.addEventListener("abort", () => closed.removeEventListener("abort", lose));
    if (closed.aborted) lose();
    void this.#renew();
    void this.#watch();
  }

  /** Ends, with whatever call is under way. */
  stop(): void {
    this.#stopped.abort(notNeeded);
  }

  async #renew(): Promise<void> {
    const { clock, scheduler, warn } = this.#ground;
    const { id: leaseId, token } = this.#holder;
    const { signal: stopped } = this.#stopped;
    let troubled = false;
    while (await clock.sleep(this.#tenure.nextAt - clock.now(), stopped)) {
      const sentAt = clock.now();
      if (sentAt >= this.#tenure.giveUpAt) return this.#lose("the server could not be reached in time to renew it");
      const limitMs = this.#tenure.callLimitMs(sentAt);
      const request = { leaseId, token, ttl: durationFromMs(Math.ceil(this.#ttlMs)) };
      try {
        const { lease } = await within(this.#ground, limitMs, (signal) => scheduler.renewLease(request, { signal }), stopped);
        if (stopped.aborted) return;
        if (lease !== undefined) this.#holder.renewed(lease);
        this.#tenure.renewed(sentAt);
        troubled = false;
      } catch (error) {
        if (stopped.aborted) return;
        if (isFinal(error as SluiceError)) return this.#lose((error as SluiceError).message);
        this.#tenure.failed(clock.now());
        if (!troubled) warn(`the lease ${leaseId} could not be renewed (${(error as SluiceError).message}); trying again`);
        troubled = true;
      }
    }
  }

  async #watch(): Promise<void> {
    const { clock, scheduler, door } = this.#ground;
    const { id: leaseId, canBeAsked } = this.#holder;
    // Whoever gives the token can be asked to give the memory back; without it one only looks on.
    const token = canBeAsked ? this.#holder.token : 0n;
    const { signal: stopped } = this.#stopped;
    // The program, which has waited, goes first.
    for (let pauseMs = 0; await clock.sleep(pauseMs, stopped); pauseMs = listenAgainMs) {
      const call = linkAborts(stopped);
      try {
        for await (const message of scheduler.watchLease({ leaseId, token }, { signal: call.signal })) {
          if (stopped.aborted || this.#isLast(message)) return;
        }
      } catch (error) {
        // The renewal tells the program of a lease that is gone.
        if (isFinal(errorFrom(error, door.address))) return;
      } finally {
        call.abort(notNeeded);
        call.letGo();
      }
    }
  }

  /** True when there is nothing more to hear. Events of a newer server are passed over. */
  #isLast({ event }: WatchLeaseResponse): boolean {
    switch (event.case) {
      case "evictionRequested":
        this.#holder.asked(evictionFrom(event.value));
        return false;
      case "snapshot":
        if (event.value.lease?.state !== LeaseState.EVICTING) this.#holder.asked(undefined);
        return false;
      case "ended":
        this.#lose(whyEnded(event.value.why));
        return true;
      default:
        return false;
    }
  }

  #lose(why: string): void {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort(notNeeded);
    this.#holder.lost(why);
  }
}

/** True for answers after which asking again makes no sense. */
function isFinal(error: SluiceError): boolean {
  return error instanceof LeaseGone || error instanceof InvalidRequest;
}
