import { largestShare } from "../engine/capacity.ts";
import type { Effect, EngineEvent, Outcome, Submit } from "../engine/events.ts";
import { type Explanation, explain } from "../engine/explain.ts";
import { Failure } from "../engine/failure.ts";
import type { Mib, Millis, ProcessKey } from "../engine/sample.ts";
import { type Discipline, disciplines } from "../engine/settings.ts";
import type { EngineState } from "../engine/state.ts";
import { nextWake, step } from "../engine/step.ts";
import type { LeaseEnd, LeaseId, LeaseView, TenantView, TicketId, TicketView, Workload } from "../engine/types.ts";
import {
  type GpuAccountView,
  gpuAccounts,
  type HostAccountView,
  hostAccount,
  leaseView,
  tenantViews,
  ticketView,
} from "../engine/views.ts";
import type { LeaseListener } from "../executor/admission.ts";
import { noStore, type Store } from "../store/store.ts";
import { Alarm } from "./alarm.ts";
import { Audience, type WaitEnd } from "./audience.ts";
import type { Clock } from "./clock.ts";
import { freshId } from "./fresh-id.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Reader, Seat } from "./seat.ts";

/** The world around the gate: what it makes happen outside. */
export interface GateWorld {
  /** Tells of every decision: granted, refused, timed out, ended; `event` is what it came from. */
  decision(effect: Effect, now: Millis, event: EngineEvent): void;
  /** The attached processes; their ends come back as events. */
  watchProcesses(processes: readonly ProcessKey[]): void;
  /** Measures again soon. */
  refresh(): void;
}

export interface QueueView {
  readonly tickets: readonly TicketView[];
  readonly leases: readonly LeaseView[];
  readonly gpus: readonly GpuAccountView[];
  readonly host: HostAccountView;
  readonly tenants: readonly TenantView[];
  /** Why nothing new is promised; empty: it is. */
  readonly suspended: string;
}

/**
 * Drives the engine: gives it the time and fresh ids, wakes it when something is due, and carries its effects to whoever waits.
 * Everything that decides goes through `step`, one event after the other.
 */
export class Gate {
  readonly #state: EngineState;
  readonly #clock: Clock;
  readonly #world: GateWorld;
  readonly #store: Store;
  readonly #audience = new Audience();
  readonly #listeners = new Map<LeaseId, LeaseListener>();
  /** How many listen for the holder of a lease, so that it can be asked to give it back. */
  readonly #holders = new Map<LeaseId, number>();
  /** Leases whose holders were asked, and have not given them back. */
  readonly #asked = new Set<LeaseId>();
  readonly #alarm: Alarm;
  #stopped = false;

  /** @param store where promises are written down before they are told; absent: nothing outlives the server. */
  constructor(state: EngineState, clock: Clock, world: GateWorld, store: Store = noStore) {
    this.#state = state;
    this.#clock = clock;
    this.#alarm = new Alarm(clock, () => this.step({ type: "tick" }));
    this.#world = world;
    this.#store = store;
  }

  now(): Millis {
    return this.#clock.now();
  }

  /** One event, with all its consequences told. Grants to those who wait are told when they are on the disk. */
  step(event: EngineEvent): Outcome {
    return this.#step(event).outcome;
  }

  /** @returns also the writing of what it changed; undefined: nothing that has to outlive the server. */
  #step(event: EngineEvent): { outcome: Outcome; written: Promise<void> | undefined } {
    const now = this.#clock.now();
    const outcome = step(this.#state, event, now);
    const [first] = outcome.effects;
    const written = first?.type === "save" ? this.#store.write(first) : undefined;
    written?.catch((failure: Failure) => this.#takeBack(outcome.effects, failure));
    for (const effect of outcome.effects) this.#tell(effect, now, event, written);
    this.#schedule(now);
    return { outcome, written };
  }

  /** Like step, for events whose failure is the caller's: throws it. Answers the lease where there is one. */
  act(event: EngineEvent): LeaseView | undefined {
    const { reply } = this.step(event);
    if (reply.type === "failure") throw reply.failure;
    return reply.type === "lease" ? reply.lease : undefined;
  }

  /** Like act, for what is promised to a holder: on the disk when it returns. @throws Failure STATE_UNAVAILABLE when it could not be. */
  async promise(event: EngineEvent): Promise<LeaseView | undefined> {
    const { outcome, written } = this.#step(event);
    if (outcome.reply.type === "failure") throw outcome.reply.failure;
    await written;
    return outcome.reply.type === "lease" ? outcome.reply.lease : undefined;
  }

  /** Like promise, for what is given back: that stands even when it cannot be written down. */
  async accept(event: EngineEvent): Promise<LeaseView | undefined> {
    const { outcome, written } = this.#step(event);
    if (outcome.reply.type === "failure") throw outcome.reply.failure;
    await written?.catch(() => {});
    return outcome.reply.type === "lease" ? outcome.reply.lease : undefined;
  }

  /**
   * A request. What is answered may be told when `saved` has resolved, or at once where that is undefined. When it rejects, the
   * lease or ticket is taken back.
   */
  submit(request: Omit<Submit, "type" | "id">): { reply: Outcome["reply"]; saved: Promise<void> | undefined } {
    const { outcome, written } = this.#step({ type: "submit", id: freshId(), ...request });
    if (outcome.reply.type === "failure") throw outcome.reply.failure;
    // One that was there already may still be on its way to the disk.
    return { reply: outcome.reply, saved: written ?? this.#store.pending() };
  }

  /** Nothing new can be written down: why, in plain words. */
  suspend(why: string): void {
    this.step({ type: "suspend", why });
  }

  resume(): void {
    this.step({ type: "resume" });
  }

  /** Why nothing new is promised; undefined: it is. */
  get suspended(): string | undefined {
    return this.#state.suspended;
  }

  /** News of one ticket. Call `leave` when the reader has gone. */
  watchTicket(id: TicketId, reader: Reader): Seat<WaitEnd> {
    return this.#audience.watchTicket(id, reader);
  }

  /** The reader of a ticket's news has gone. The last one takes the ticket with it, unless its place is to be kept. */
  leaveTicket(id: TicketId, seat: Seat<WaitEnd>): void {
    const left = this.#audience.leaveTicket(id, seat);
    if (left === 0 && this.#state.tickets.has(id)) this.step({ type: "disconnect", ticketId: id });
  }

  /** News of one lease. Its last message says why the lease ended, or that the server drains. */
  watchLease(id: LeaseId): Mailbox<LeaseEnd | Failure> {
    return this.#audience.watchLease(id);
  }

  leaveLease(id: LeaseId, mailbox: Mailbox<LeaseEnd | Failure>): void {
    this.#audience.leaveLease(id, mailbox);
  }

  /** Who ends the work of a lease when it is to be taken back; forgotten with the lease. Called within a step: must not wait. */
  onLease(id: LeaseId, listener: LeaseListener): void {
    this.#listeners.set(id, listener);
  }

  /** Somebody listens for the holder of a lease. False for one of this server's own workers, which have `onLease`. */
  holderCame(leaseId: LeaseId, token: number): boolean {
    if (this.#listeners.has(leaseId)) return false;
    const listening = (this.#holders.get(leaseId) ?? 0) + 1;
    this.#holders.set(leaseId, listening);
    if (listening === 1) {
      this.step({ type: "keep", leaseId, token, keeping: { holder: "watcher", pinned: false, ready: true } });
    }
    return true;
  }

  holderLeft(leaseId: LeaseId, token: number): void {
    const listening = (this.#holders.get(leaseId) ?? 1) - 1;
    if (listening > 0) {
      this.#holders.set(leaseId, listening);
      return;
    }
    this.#holders.delete(leaseId);
    this.step({ type: "keep", leaseId, token, keeping: undefined });
  }

  watchState(): Mailbox<Failure> {
    return this.#audience.watchState();
  }

  leaveState(mailbox: Mailbox<Failure>): void {
    this.#audience.leaveState(mailbox);
  }

  ticket(id: TicketId): TicketView | undefined {
    const ticket = this.#state.tickets.get(id);
    return ticket === undefined ? undefined : ticketView(this.#state, ticket, this.#clock.now());
  }

  lease(id: LeaseId): LeaseView | undefined {
    const lease = this.#state.leases.get(id) ?? this.#state.ended.get(id);
    return lease === undefined ? undefined : leaseView(lease);
  }

  leases(): readonly LeaseView[] {
    return [...this.#state.leases.values()].map(leaseView);
  }

  queue(): QueueView {
    const now = this.#clock.now();
    const tickets = [...this.#state.line.inOrder(this.#state.orderAt)].map((t) => ticketView(this.#state, t, now));
    return {
      tickets,
      leases: this.leases(),
      ...this.books(),
      tenants: tenantViews(this.#state, now),
      suspended: this.#state.suspended ?? "",
    };
  }

  /** The books of every GPU and of the host. */
  books(): Pick<QueueView, "gpus" | "host"> {
    const now = this.#clock.now();
    return { gpus: gpuAccounts(this.#state, now), host: hostAccount(this.#state, now) };
  }

  /** Running executions by name. */
  executions(): ReadonlyMap<string, number> {
    return this.#state.executionsByName;
  }

  /** The lease that a process works for, by any key of its lineage. */
  ownerOf(lineage: readonly ProcessKey[]): LeaseId | undefined {
    const key = lineage.find((k) => this.#state.processOwner.has(k));
    return key === undefined ? undefined : this.#state.processOwner.get(key)?.id;
  }

  explain(workload: Workload, policy: string): Explanation {
    return explain(this.#state, workload, policy, this.#clock.now());
  }

  /** The most that one GPU, and the host, could give if nothing else ran; absent where the size is not known. */
  ceiling(): { readonly vramMb?: Mib; readonly ramMb?: Mib } {
    return largestShare(this.#state);
  }

  get policy(): string {
    return this.#state.policy;
  }

  get policies(): readonly string[] {
    return [...this.#state.rules.keys()];
  }

  /** Who may be served now while an earlier ticket waits. */
  get discipline(): Discipline {
    return this.#state.discipline;
  }

  get disciplines(): readonly Discipline[] {
    return disciplines;
  }

  get counts(): { readonly waiting: number; readonly leases: number } {
    return { waiting: this.#state.line.size, leases: this.#state.leases.size };
  }

  /** Refuses what comes and ends whoever waits or watches; leases stay as they are. */
  drain(): void {
    this.step({ type: "drain" });
    const failure = new Failure("DRAINING", "the server is shutting down; ask again, at this server or another");
    this.#audience.dismissWatchers(failure);
  }

  stop(): void {
    this.#stopped = true;
    this.#alarm.stop();
  }

  #tell(effect: Effect, now: Millis, event: EngineEvent, written: Promise<void> | undefined): void {
    switch (effect.type) {
      case "save":
        break;
      case "granted":
        this.#store.used(effect.lease.token);
        this.#world.decision(effect, now, event);
        if (effect.ticketId !== undefined) this.#tellGrant(effect.ticketId, effect.lease, written);
        break;
      case "refused":
        this.#world.decision(effect, now, event);
        if (effect.ticketId !== undefined)
          this.#audience.closeTicket(effect.ticketId, { type: "refused", refusal: effect.refusal });
        break;
      case "timed-out":
        this.#world.decision(effect, now, event);
        this.#audience.closeTicket(effect.ticketId, { type: "timed-out", waitedMs: effect.waitedMs, reasons: effect.reasons });
        break;
      case "withdrawn":
        this.#world.decision(effect, now, event);
        this.#audience.closeTicket(effect.ticketId, { type: "failed", failure: effect.failure });
        break;
      case "queued":
        this.#world.decision(effect, now, event);
        break;
      case "renewed":
        this.#audience.pokeLease(effect.leaseId);
        break;
      case "lease-ended":
        this.#world.decision(effect, now, event);
        this.#listeners.get(effect.lease.id)?.ended();
        this.#listeners.delete(effect.lease.id);
        this.#asked.delete(effect.lease.id);
        this.#audience.closeLease(effect.lease.id, effect.why);
        break;
      case "evict":
        for (const { id } of effect.leases) {
          this.#asked.add(id);
          this.#listeners.get(id)?.evict();
          this.#audience.pokeLease(id);
        }
        break;
      case "evicted":
        this.#world.decision(effect, now, event);
        break;
      case "watch-processes":
        this.#world.watchProcesses(effect.processes);
        break;
      case "refresh":
        this.#world.refresh();
        break;
      case "changed":
        this.#audience.changed();
        for (const id of this.#asked) {
          if (this.#state.leases.get(id)?.eviction !== undefined) continue;
          this.#asked.delete(id);
          this.#audience.pokeLease(id);
        }
        break;
      case "measured":
        this.#audience.measured();
        break;
    }
  }

  #tellGrant(id: TicketId, lease: LeaseView, written: Promise<void> | undefined): void {
    const end: WaitEnd = { type: "granted", lease };
    if (written === undefined || !this.#audience.hasTicket(id)) {
      this.#audience.closeTicket(id, end);
      return;
    }
    written.then(
      () => {
        if (this.#audience.hasTicket(id)) this.#audience.closeTicket(id, end);
        // Its client went away while it was written.
        else this.step({ type: "undelivered", leaseId: lease.id });
      },
      (failure: Failure) => this.#audience.closeTicket(id, { type: "failed", failure }),
    );
  }

  /** What was promised is not on the disk, so nobody has heard of it. */
  #takeBack(effects: readonly Effect[], failure: Failure): void {
    for (const effect of effects) {
      if (effect.type === "granted") {
        this.step({ type: "release", leaseId: effect.lease.id, token: 0, why: "unclaimed" });
      } else if (effect.type === "queued") {
        this.#audience.closeTicket(effect.ticket.id, { type: "failed", failure });
        this.step({ type: "cancel", ticketId: effect.ticket.id });
      }
    }
  }

  /** While anybody waits, looks again at least every poll interval, whatever else happens. */
  #schedule(now: Millis): void {
    if (this.#stopped) return;
    const due = nextWake(this.#state) ?? Infinity;
    const poll = this.#state.line.size > 0 ? now + this.#state.settings.defaultPollIntervalMs : Infinity;
    this.#alarm.set(Math.min(due, poll), now);
  }
}
