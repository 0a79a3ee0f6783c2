import { poolKeyOf, poolOf, sum } from "./books.ts";
import { charge, chargeAgain, stopCharging } from "./charges.ts";
import type { Effect } from "./events.ts";
import { hasDeadline, noteMeasured } from "./evictions.ts";
import type { Judgement } from "./judge.ts";
import { noteWorth } from "./keeping.ts";
import { countRunning, shareOf } from "./quota.ts";
import { disown } from "./residents.ts";
import type { Millis, ProcessKey } from "./sample.ts";
import { noteLease } from "./saves.ts";
import { type EngineState, type Holding, hostPool, type LeaseRecord, type TicketRecord } from "./state.ts";
import type { LeaseEnd } from "./types.ts";
import { leaseView } from "./views.ts";

/** How many leases are remembered after their end, for GetLease. */
const rememberedLeases = 1_000;
/** Memory counts as back when use has fallen by this share of what the lease had. Ollama takes the same. */
const backShare = 0.75;

/** Books a lease for a ticket or request. The caller has decided in the same step. */
export function grant(
  state: EngineState,
  ticket: TicketRecord,
  judgement: Judgement,
  policy: string,
  now: Millis,
): LeaseRecord {
  const { workload } = ticket;
  const holdings: Holding[] = [];
  const estimateMs = state.durations.estimateMs(ticket.kind);
  const lease: LeaseRecord = {
    id: `lease-${ticket.id.slice("ticket-".length)}`,
    token: state.nextToken++,
    workload,
    gpus: judgement.gpus,
    holdings,
    requestId: ticket.requestId,
    policy,
    grantedAt: now,
    growsFrom: now,
    hold: ticket.hold,
    isClaimable: ticket.hold === "ttl" && ticket.requestId !== "" && ticket.graceMs > 0,
    ttlMs: ticket.ttlMs,
    longestTtlMs: ticket.ttlMs,
    overcommitted: judgement.overcommitted,
    kind: ticket.kind,
    estimateMs,
    share: shareOf(state, workload.requirements),
    chargedFrom: now,
    chargedUntil: now,
    phase: "held",
    expiresAt: ticket.hold === "stream" ? undefined : now + ticket.ttlMs,
    claimBy: undefined,
    executions: new Set(),
    processes: new Set(),
    wasUsed: false,
    idleSince: now,
    keeping: undefined,
    eviction: undefined,
    givenBackAt: undefined,
    gaveBack: { from: now, to: now },
    end: undefined,
    endedAt: undefined,
    atEnd: new Map(),
  };
  const deviceOf = new Map(state.sample?.gpus.map((d) => [d.uuid, d]));
  for (const gpu of lease.gpus) {
    const device = deviceOf.get(gpu.uuid);
    holdings.push({
      lease,
      pool: device === undefined ? gpu.uuid : poolKeyOf(device),
      gpuUuid: gpu.uuid,
      reservedMb: gpu.vramMb,
    });
  }
  if (workload.requirements.ramMb > 0) {
    holdings.push({ lease, pool: hostPool, reservedMb: workload.requirements.ramMb });
  }
  for (const h of holdings) {
    const pool = poolOf(state, h.pool);
    const used = pool.figures?.usedMb;
    if (used !== undefined) h.baselineMb = used;
    pool.holdings.add(h);
    sum(pool);
  }
  state.leases.set(lease.id, lease);
  if (lease.requestId !== "") state.requests.set(requestKey(workload.tenant, lease.requestId), { leaseId: lease.id });
  if (lease.expiresAt !== undefined) state.wakes.push({ at: lease.expiresAt, kind: "lease-expiry", id: lease.id });
  countRunning(state, lease, 1);
  charge(state, lease, workload.expectedDurationMs ?? estimateMs, now);
  noteLease(state, lease);
  state.version++;
  return lease;
}

/** What was charged and not used is given back, and how long it ran is learned. */
function settleAccount(state: EngineState, lease: LeaseRecord, why: LeaseEnd, now: Millis): void {
  const ranMs = now - lease.grantedAt;
  stopCharging(state, lease, now);
  // One that nobody claimed, renewed or let finish says nothing about how long such work takes.
  const isHeard = lease.claimBy === undefined;
  // How long a resident stays says nothing about how long its work takes. Another program that listens is no resident.
  const isResident = lease.keeping?.holder === "worker";
  if (isHeard && !isResident && (why === "released" || why === "process-exited" || why === "stream-closed")) {
    state.durations.learn(lease.kind, lease.estimateMs, ranMs);
  }
}

export function requestKey(tenant: string, requestId: string): string {
  return `${tenant}\u0000${requestId}`;
}

/**
 * The holder no longer has the lease. Whatever it may have taken since the last measurement stays charged until a newer one,
 * unless it never did anything with it.
 */
export function endLease(state: EngineState, lease: LeaseRecord, why: LeaseEnd, now: Millis, effects: Effect[]): void {
  if (lease.phase !== "held") return;
  noteLease(state, lease);
  lease.end = why;
  lease.endedAt = now;
  state.keepers.delete(lease);
  countRunning(state, lease, -1);
  settleAccount(state, lease, why, now);
  lease.claimBy = undefined;
  lease.expiresAt = undefined;
  for (const id of [...lease.executions]) finishExecution(state, lease, id, now);
  if (lease.requestId !== "") state.requests.delete(requestKey(lease.workload.tenant, lease.requestId));
  for (const h of lease.holdings) {
    const pool = poolOf(state, h.pool);
    const f = pool.figures;
    // Where memory cannot be attributed, any part of what it was promised may be its own.
    const residentMb = f?.attribution === true && f.usedMb !== undefined ? (h.residentMb ?? 0) : h.reservedMb;
    lease.atEnd.set(h.pool, { usedMb: f?.usedMb, residentMb });
  }
  const waits = leave(state, lease, why, now, effects);
  state.version++;
  effects.push({ type: "lease-ended", lease: leaseView(lease), why });
  if (waits && state.line.size > 0) effects.push({ type: "refresh" });
}

/** True when a newer measurement would free memory. */
function leave(state: EngineState, lease: LeaseRecord, why: LeaseEnd, now: Millis, effects: Effect[]): boolean {
  if ((why === "expired" || isOverdue(lease, why, now)) && lease.processes.size > 0) {
    becomeOrphan(state, lease);
    return false;
  }
  forgetProcesses(state, lease, effects);
  if (!lease.wasUsed && why !== "expired") {
    finish(state, lease);
    return false;
  }
  settle(state, lease, now);
  return true;
}

/** It was asked back and did not come: whatever it still has is not free. */
function isOverdue(lease: LeaseRecord, why: LeaseEnd, now: Millis): boolean {
  return why === "evicted" && hasDeadline(lease) && now >= (lease.eviction?.deadline ?? Infinity);
}

function becomeOrphan(state: EngineState, lease: LeaseRecord): void {
  lease.phase = "orphan";
  for (const h of lease.holdings) {
    const pool = poolOf(state, h.pool);
    disown(pool, h);
    sum(pool);
  }
}

function settle(state: EngineState, lease: LeaseRecord, now: Millis): void {
  lease.phase = "settling";
  state.wakes.push({ at: now + state.settings.releaseLagMs, kind: "lease-drained", id: lease.id });
  for (const h of lease.holdings) sum(poolOf(state, h.pool));
}

/** Moves leases that have ended on, as far as the newest sample and the time allow. */
export function drainLeases(state: EngineState, now: Millis): void {
  for (const lease of state.leases.values()) {
    if (lease.phase !== "settling" && lease.phase !== "releasing") continue;
    const endedAt = lease.endedAt ?? now;
    const observed = (h: Holding) => state.pools.get(h.pool)?.figures?.observedAt ?? Number.NEGATIVE_INFINITY;
    if (lease.phase === "settling" && lease.holdings.every((h) => observed(h) > endedAt)) release(state, lease);
    if (lease.phase === "releasing") noteMeasured(state, lease);
    const isOver =
      now - endedAt >= state.settings.releaseLagMs
        ? // Figures from before the end must not be decided on without this charge; those that are too old decide nothing.
          lease.holdings.every((h) => observed(h) > endedAt || now - observed(h) > state.settings.maxSampleAgeMs)
        : lease.phase === "releasing" && lease.holdings.every((h) => isBack(state, h));
    if (isOver) finish(state, lease);
  }
}

function release(state: EngineState, lease: LeaseRecord): void {
  lease.phase = "releasing";
  state.version++;
  for (const h of lease.holdings) {
    const pool = poolOf(state, h.pool);
    disown(pool, h);
    sum(pool);
  }
}

/** Where memory cannot be attributed, use that falls may be somebody else's: there only time tells. */
function isBack(state: EngineState, h: Holding): boolean {
  const end = h.lease.atEnd.get(h.pool);
  const figures = state.pools.get(h.pool)?.figures;
  if (end === undefined || end.residentMb === 0) return true;
  if (end.usedMb === undefined || figures?.usedMb === undefined || !figures.attribution) return false;
  // Whoever it was taken back for may need the last of it: somebody else must not go instead.
  const share = h.lease.eviction === undefined ? backShare : 1;
  return end.usedMb - figures.usedMb >= share * end.residentMb;
}

function finish(state: EngineState, lease: LeaseRecord): void {
  lease.phase = "ended";
  for (const h of lease.holdings) {
    const pool = poolOf(state, h.pool);
    pool.holdings.delete(h);
    sum(pool);
  }
  state.leases.delete(lease.id);
  state.ended.set(lease.id, lease);
  if (state.ended.size > rememberedLeases) {
    const oldest = state.ended.keys().next().value;
    if (oldest !== undefined) state.ended.delete(oldest);
  }
  state.version++;
}

export function startExecution(state: EngineState, lease: LeaseRecord, executionId: string, now: Millis): void {
  noteLease(state, lease);
  lease.executions.add(executionId);
  lease.wasUsed = true;
  if (lease.keeping !== undefined) {
    state.keepValues.used(lease.workload.name, now);
    noteWorth(state, lease, now);
    chargeAgain(state, lease, now);
  }
  const { name } = lease.workload;
  state.executionsByName.set(name, (state.executionsByName.get(name) ?? 0) + 1);
  state.rules.get(lease.policy)?.onExecutionStart(name);
}

export function finishExecution(state: EngineState, lease: LeaseRecord, executionId: string, now: Millis): void {
  if (!lease.executions.delete(executionId)) return;
  noteLease(state, lease);
  if (lease.executions.size === 0) {
    lease.idleSince = now;
    if (lease.keeping !== undefined) stopCharging(state, lease, now);
  }
  const { name } = lease.workload;
  const left = (state.executionsByName.get(name) ?? 1) - 1;
  if (left > 0) state.executionsByName.set(name, left);
  else state.executionsByName.delete(name);
  state.rules.get(lease.policy)?.onExecutionFinish(name);
}

export function attach(state: EngineState, lease: LeaseRecord, process: ProcessKey, effects: Effect[]): void {
  noteLease(state, lease);
  lease.processes.add(process);
  lease.wasUsed = true;
  state.processOwner.set(process, lease);
  effects.push({ type: "watch-processes", processes: [...state.processOwner.keys()] });
}

/** When the last attached process of a lease has ended, so has the lease; when an orphan's has, its memory comes back. */
export function processExited(state: EngineState, process: ProcessKey, now: Millis, effects: Effect[]): void {
  const lease = state.processOwner.get(process);
  if (lease === undefined) return;
  state.processOwner.delete(process);
  noteLease(state, lease);
  lease.processes.delete(process);
  effects.push({ type: "watch-processes", processes: [...state.processOwner.keys()] });
  if (lease.processes.size > 0) return;
  if (lease.phase === "held") {
    endLease(state, lease, lease.eviction === undefined ? "process-exited" : "evicted", now, effects);
  } else if (lease.phase === "orphan") {
    lease.endedAt = now;
    // Its memory is foreign by now; only what is still outstanding waits for a newer measurement.
    settleOrphan(state, lease, now);
    if (state.line.size > 0) effects.push({ type: "refresh" });
  }
}

function settleOrphan(state: EngineState, lease: LeaseRecord, now: Millis): void {
  for (const h of lease.holdings) delete h.residentMb;
  settle(state, lease, now);
  state.version++;
}

function forgetProcesses(state: EngineState, lease: LeaseRecord, effects: Effect[]): void {
  if (lease.processes.size === 0) return;
  for (const process of lease.processes) state.processOwner.delete(process);
  lease.processes.clear();
  effects.push({ type: "watch-processes", processes: [...state.processOwner.keys()] });
}
