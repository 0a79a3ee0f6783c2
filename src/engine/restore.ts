import { addTicket } from "./admit.ts";
import { poolOf, sum } from "./books.ts";
import { charge } from "./charges.ts";
import { kindOf } from "./durations.ts";
import type { Effect } from "./events.ts";
import { requestKey } from "./leases.ts";
import { countRunning } from "./quota.ts";
import type { Millis } from "./sample.ts";
import type { LeaseMemo, TicketMemo } from "./saves.ts";
import type { EngineState, Holding, LeaseRecord } from "./state.ts";

/** What an earlier life of the server had promised. */
export interface RestoreEvent {
  readonly type: "restore";
  readonly leases: readonly LeaseMemo[];
  readonly tickets: readonly TicketMemo[];
}

/** How much longer than its time to live the last lease gets than the first. */
const spread = 0.5;

/**
 * Takes up what an earlier life had promised. Comes before everything else.
 *
 * - Every lease gets its whole time to live once more, whatever of it was over: how long the server was away cannot be known by a
 *   clock that may have been set. The ends are spread, so that a thousand holders do not come at the same moment.
 * - One that was over while a process of it still ran is so again.
 * - All that a lease was promised is outstanding until a measurement shows it.
 * - Tickets keep their order. Their clients are away, and have the grace time to come back.
 */
export function restore(state: EngineState, event: RestoreEvent, now: Millis, effects: Effect[]): void {
  const leases = [...event.leases].sort((a, b) => a.token - b.token);
  for (const [i, memo] of leases.entries()) {
    restoreLease(state, memo, memo.ttlMs * (1 + (spread * i) / leases.length), now);
  }
  for (const memo of [...event.tickets].sort((a, b) => a.seq - b.seq)) restoreTicket(state, memo, now);
  if (state.processOwner.size > 0) effects.push({ type: "watch-processes", processes: [...state.processOwner.keys()] });
  state.version++;
}

function restoreLease(state: EngineState, memo: LeaseMemo, livesMs: Millis, now: Millis): void {
  const isOrphan = memo.end !== undefined;
  const holdings: Holding[] = [];
  const grantedAt = Math.min(memo.grantedAt, now);
  const chargedMs = Math.max(0, memo.chargedUntil - memo.chargedFrom);
  const chargedUntil = Math.min(memo.chargedUntil, now + chargedMs);
  const lease: LeaseRecord = {
    id: memo.id,
    token: memo.token,
    workload: memo.workload,
    gpus: memo.gpus,
    holdings,
    requestId: memo.requestId,
    policy: memo.policy,
    grantedAt,
    growsFrom: now + state.settings.releaseLagMs,
    hold: "ttl",
    isClaimable: memo.requestId !== "",
    ttlMs: memo.ttlMs,
    longestTtlMs: memo.ttlMs,
    overcommitted: memo.overcommitted,
    kind: kindOf(memo.workload),
    estimateMs: memo.estimateMs,
    share: memo.share,
    chargedFrom: Math.min(memo.chargedFrom, now),
    chargedUntil,
    phase: isOrphan ? "orphan" : "held",
    expiresAt: isOrphan ? undefined : now + livesMs,
    claimBy: undefined,
    executions: new Set(memo.executions),
    processes: new Set(memo.processes),
    // What it did before is not known any more; its memory may lag behind its end.
    wasUsed: true,
    idleSince: now,
    keeping: undefined,
    eviction: undefined,
    givenBackAt: undefined,
    gaveBack: { from: grantedAt, to: grantedAt },
    end: memo.end,
    endedAt: memo.endedAt === undefined ? undefined : Math.min(memo.endedAt, now),
    atEnd: new Map(),
  };
  for (const { pool: key, ...rest } of memo.holdings) {
    const holding: Holding = { lease, pool: key, ...rest };
    holdings.push(holding);
    const pool = poolOf(state, key);
    pool.holdings.add(holding);
    sum(pool);
  }
  state.leases.set(lease.id, lease);
  state.nextToken = Math.max(state.nextToken, lease.token + 1);
  for (const process of lease.processes) state.processOwner.set(process, lease);
  if (isOrphan) return;
  if (lease.requestId !== "") state.requests.set(requestKey(lease.workload.tenant, lease.requestId), { leaseId: lease.id });
  state.wakes.push({ at: now + livesMs, kind: "lease-expiry", id: lease.id });
  countRunning(state, lease, 1);
  if (chargedUntil > now) state.wakes.push({ at: chargedUntil, kind: "lease-charge", id: lease.id });
  else {
    lease.chargedFrom = now;
    lease.chargedUntil = now;
    charge(state, lease, lease.estimateMs, now);
  }
  const { name } = lease.workload;
  for (const _ of lease.executions) {
    state.executionsByName.set(name, (state.executionsByName.get(name) ?? 0) + 1);
    state.rules.get(lease.policy)?.onExecutionStart(name);
  }
}

function restoreTicket(state: EngineState, memo: TicketMemo, now: Millis): void {
  const submittedAt = Math.min(memo.submittedAt, now);
  // A clock that was set back must not make anybody wait for longer than was asked.
  const deadline = memo.deadline === undefined ? undefined : Math.min(memo.deadline, now + (memo.deadline - memo.submittedAt));
  const graceUntil = now + state.settings.graceMs;
  const ticket = {
    id: memo.id,
    seq: state.nextSeq++,
    workload: memo.workload,
    kind: kindOf(memo.workload),
    cost: memo.cost,
    requestId: memo.requestId,
    policy: memo.policy,
    submittedAt,
    deadline,
    pollIntervalMs: memo.pollIntervalMs,
    ttlMs: memo.ttlMs,
    hold: memo.hold,
    graceMs: memo.graceMs ?? state.settings.graceMs,
    connected: false,
    graceUntil,
    heldPools: undefined,
    heldSince: 0,
    policyMessage: "",
  };
  addTicket(state, ticket);
  state.line.setCounted(ticket, false);
  state.wakes.push({ at: graceUntil, kind: "ticket-grace", id: ticket.id });
  if (deadline !== undefined) state.wakes.push({ at: deadline, kind: "ticket-deadline", id: ticket.id });
}
