import { randomBytes } from "node:crypto";
import { largestShare } from "../engine/capacity.ts";
import type { Effect, EngineEvent, Outcome, Submit } from "../engine/events.ts";
import { type Explanation, explain } from "../engine/explain.ts";
import { Failure } from "../engine/failure.ts";
import type { Mib, Millis, ProcessKey } from "../engine/sample.ts";
import { type Discipline, disciplines } from "../engine/settings.ts";
import type { EngineState } from "../engine/state.ts";
import { nextWake, step } from "../engine/step.ts";
import type {
  LeaseEnd,
  LeaseId,
  LeaseView,
  Reason,
  Refusal,
  TenantView,
  TicketId,
  TicketView,
  Workload,
} from "../engine/types.ts";
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
import type { Clock } from "./clock.ts";
import { Mailbox } from "./mailbox.ts";

/** How a ticket's wait ended. */
export type WaitEnd =
  | { readonly type: "granted"; readonly lease: LeaseView }
  | { readonly type: "refused"; readonly refusal: Refusal }
  | { readonly type: "timed-out"; readonly waitedMs: Millis; readonly reasons: readonly Reason[] }
  | { readonly type: "failed"; readonly failure: Failure };

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
}

/**
 * Drives the engine: gives it the time and fresh ids, wakes it when something is due, and carries its effects to whoever waits.
 * Everything that decides goes through `step`, one event after the other.
 */
export class Gate {
  readonly #state: EngineState;
  readonly #clock: Clock;
  readonly #world: GateWorld;
  readonly #waiters = new Map<TicketId, Set<Mailbox<WaitEnd>>>();
  readonly #leaseWatchers = new Map<LeaseId, Set<Mailbox<LeaseEnd | Failure>>>();
  readonly #stateWatchers = new Set<Mailbox<Failure>>();
  readonly #listeners = new Map<LeaseId, LeaseListener>();
  /** How many listen for the holder of a lease, so that it can be asked to give it back. */
  readonly #holders = new Map<LeaseId, number>();
  /** Leases whose holders were asked, and have not given them back. */
  readonly #asked = new Set<LeaseId>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(state: EngineState, clock: Clock, world: GateWorld) {
    this.#state = state;
    this.#clock = clock;
    this.#world = world;
  }

  now(): Millis {
    return this.#clock.now();
  }

  /** One event, with all its consequences told. */
  step(event: EngineEvent): Outcome {
    const now = this.#clock.now();
    const outcome = step(this.#state, event, now);
    for (const effect of outcome.effects) this.#tell(effect, now, event);
    this.#schedule(now);
    return outcome;
  }

  /** Like step, for events whose failure is the caller's: throws it. Answers the lease where there is one. */
  act(event: EngineEvent): LeaseView | undefined {
    const { reply } = this.step(event);
    if (reply.type === "failure") throw reply.failure;
    return reply.type === "lease" ? reply.lease : undefined;
  }

  submit(request: Omit<Submit, "type" | "id">): Outcome["reply"] {
    const { reply } = this.step({ type: "submit", id: freshId(), ...request });
    if (reply.type === "failure") throw reply.failure;
    return reply;
  }

  /** News of one ticket. Call `leave` when the reader has gone. */
  watchTicket(id: TicketId): Mailbox<WaitEnd> {
    const mailbox = new Mailbox<WaitEnd>();
    addTo(this.#waiters, id, mailbox);
    return mailbox;
  }

  /** The reader of a ticket's news has gone. The last one takes the ticket with it, unless its place is to be kept. */
  leaveTicket(id: TicketId, mailbox: Mailbox<WaitEnd>): void {
    const left = removeFrom(this.#waiters, id, mailbox);
    if (left === 0 && this.#state.tickets.has(id)) this.step({ type: "disconnect", ticketId: id });
  }

  /** News of one lease. Its last message says why the lease ended, or that the server drains. */
  watchLease(id: LeaseId): Mailbox<LeaseEnd | Failure> {
    const mailbox = new Mailbox<LeaseEnd | Failure>();
    addTo(this.#leaseWatchers, id, mailbox);
    return mailbox;
  }

  leaveLease(id: LeaseId, mailbox: Mailbox<LeaseEnd | Failure>): void {
    removeFrom(this.#leaseWatchers, id, mailbox);
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
    const mailbox = new Mailbox<Failure>();
    this.#stateWatchers.add(mailbox);
    return mailbox;
  }

  leaveState(mailbox: Mailbox<Failure>): void {
    this.#stateWatchers.delete(mailbox);
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
    return { tickets, leases: this.leases(), ...this.books(), tenants: tenantViews(this.#state, now) };
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
    for (const mailbox of this.#stateWatchers) mailbox.close(failure);
    // Their streams would keep the server for the whole grace time, and have nothing to tell any more.
    for (const mailboxes of this.#leaseWatchers.values()) for (const mailbox of mailboxes) mailbox.close(failure);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #tell(effect: Effect, now: Millis, event: EngineEvent): void {
    switch (effect.type) {
      case "granted":
        this.#world.decision(effect, now, event);
        if (effect.ticketId !== undefined) this.#close(effect.ticketId, { type: "granted", lease: effect.lease });
        break;
      case "refused":
        this.#world.decision(effect, now, event);
        if (effect.ticketId !== undefined) this.#close(effect.ticketId, { type: "refused", refusal: effect.refusal });
        break;
      case "timed-out":
        this.#world.decision(effect, now, event);
        this.#close(effect.ticketId, { type: "timed-out", waitedMs: effect.waitedMs, reasons: effect.reasons });
        break;
      case "withdrawn":
        this.#world.decision(effect, now, event);
        this.#close(effect.ticketId, { type: "failed", failure: effect.failure });
        break;
      case "queued":
        this.#world.decision(effect, now, event);
        break;
      case "renewed":
        this.#pokeLease(effect.leaseId);
        break;
      case "lease-ended":
        this.#world.decision(effect, now, event);
        this.#listeners.get(effect.lease.id)?.ended();
        this.#listeners.delete(effect.lease.id);
        this.#asked.delete(effect.lease.id);
        for (const mailbox of this.#leaseWatchers.get(effect.lease.id) ?? []) mailbox.close(effect.why);
        break;
      case "evict":
        for (const { id } of effect.leases) {
          this.#asked.add(id);
          this.#listeners.get(id)?.evict();
          this.#pokeLease(id);
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
        for (const mailboxes of this.#waiters.values()) for (const mailbox of mailboxes) mailbox.poke();
        for (const mailbox of this.#stateWatchers) mailbox.poke();
        for (const id of this.#asked) {
          if (this.#state.leases.get(id)?.eviction !== undefined) continue;
          this.#asked.delete(id);
          this.#pokeLease(id);
        }
        break;
    }
  }

  #pokeLease(id: LeaseId): void {
    for (const mailbox of this.#leaseWatchers.get(id) ?? []) mailbox.poke();
  }

  #close(id: TicketId, end: WaitEnd): void {
    for (const mailbox of this.#waiters.get(id) ?? []) mailbox.close(end);
    // Granted before anybody could listen (or after the last one left): nobody will tell the client.
    if (end.type === "granted" && !this.#waiters.has(id)) return;
    this.#waiters.delete(id);
  }

  /** While anybody waits, looks again at least every poll interval, whatever else happens. */
  #schedule(now: Millis): void {
    if (this.#stopped) return;
    const due = nextWake(this.#state) ?? Infinity;
    const poll = this.#state.line.size > 0 ? now + this.#state.settings.defaultPollIntervalMs : Infinity;
    const at = Math.min(due, poll);
    clearTimeout(this.#timer);
    if (at === Infinity) return;
    // setTimeout may fire a little early and counts to 2^31 − 1 at most.
    this.#timer = setTimeout(() => this.step({ type: "tick" }), Math.min(2_147_483_647, Math.max(1, Math.ceil(at - now))));
    this.#timer.unref();
  }
}

/** 80 random bits in 16 characters that survive a terminal, a file name and a voice. */
function freshId(): string {
  const alphabet = "abcdefghjkmnpqrstuvwxyz0123456789";
  return [...randomBytes(16)].map((b) => alphabet[b & 31]).join("");
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
