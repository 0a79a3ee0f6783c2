import { availableOf, capacityOf, poolKeyOf } from "./books.ts";
import { contextOf } from "./context.ts";
import { type Eviction, hasDeadline } from "./evictions.ts";
import { type DeviceBlock, deviceBlock, hostIsFresh } from "./fit.ts";
import { expectedStartOf, latestStartOf } from "./forecast.ts";
import { policyFor } from "./judge.ts";
import { limitsOf } from "./quota.ts";
import { evictionReason } from "./reasons.ts";
import type { GpuSample, Mib, Millis } from "./sample.ts";
import { sharedReasons } from "./shared-reasons.ts";
import { type EngineState, hostPool, type LeaseRecord, type TicketRecord } from "./state.ts";
import type { LeaseView, Reason, ReasonCode, TenantView, TicketView } from "./types.ts";

/** A copy of a lease for the outside. */
export function leaseView(lease: LeaseRecord): LeaseView {
  const ram = lease.holdings.find((h) => h.gpuUuid === undefined);
  const { eviction } = lease;
  return {
    id: lease.id,
    token: lease.token,
    workload: lease.workload,
    gpus: lease.gpus.map((g) => {
      const h = lease.holdings.find((holding) => holding.gpuUuid === g.uuid);
      if (h === undefined) return g;
      return {
        ...g,
        vramMb: h.reservedMb,
        ...(h.residentMb === undefined ? {} : { residentMb: h.residentMb }),
        ...(h.residentAt === undefined ? {} : { residentAt: h.residentAt }),
      };
    }),
    ramMb: ram?.reservedMb ?? lease.workload.requirements.ramMb,
    grantedAt: lease.grantedAt,
    ttlMs: lease.ttlMs,
    hold: lease.hold,
    state: publicState(lease),
    requestId: lease.requestId,
    executions: lease.executions.size,
    policy: lease.policy,
    processes: [...lease.processes],
    overcommitted: lease.overcommitted,
    ...(lease.expiresAt === undefined ? {} : { expiresAt: lease.expiresAt }),
    ...(lease.end === undefined ? {} : { end: lease.end }),
    ...(ram?.residentMb === undefined ? {} : { residentRamMb: ram.residentMb }),
    ...(ram?.residentAt === undefined ? {} : { residentRamAt: ram.residentAt }),
    ...(eviction === undefined || lease.phase !== "held" ? {} : { eviction: evictionView(lease, eviction) }),
  };
}

function evictionView(lease: LeaseRecord, { reason, deadline }: Eviction): NonNullable<LeaseView["eviction"]> {
  return hasDeadline(lease) ? { reason, deadline } : { reason };
}

function publicState(lease: LeaseRecord): LeaseView["state"] {
  if (lease.phase === "held" && lease.eviction !== undefined) return "evicting";
  if (lease.phase === "held") return lease.executions.size > 0 ? "active" : "idle";
  return lease.phase === "ended" ? "ended" : "draining";
}

/** A copy of a ticket for the outside, with its place, its reasons and estimates as they are now. */
export function ticketView(state: EngineState, ticket: TicketRecord, now: Millis): TicketView {
  const eta = latestStartOf(state, ticket, now);
  const expected = expectedStartOf(state, ticket, now);
  return {
    ...ticketFacts(state, ticket, now),
    ...(eta === undefined ? {} : { eta }),
    // Made at different moments, they could differ by a little.
    ...(expected === undefined ? {} : { ...expected, expectedStart: Math.min(expected.expectedStart, eta ?? Infinity) }),
  };
}

/** The same without estimates, which take longer to work out than all the rest. */
export function ticketFacts(state: EngineState, ticket: TicketRecord, now: Millis): TicketView {
  return {
    id: ticket.id,
    requestId: ticket.requestId,
    workload: ticket.workload,
    position: state.line.positionOf(ticket, state.orderAt),
    queueLength: state.line.size,
    submittedAt: ticket.submittedAt,
    waitedMs: now - ticket.submittedAt,
    reasons: reasonsOf(state, ticket, now),
    policy: policyFor(state, ticket.policy, "wait"),
    connected: ticket.connected,
    overtaken: state.line.overtakenOf(ticket),
    ...(ticket.deadline === undefined ? {} : { deadline: ticket.deadline }),
  };
}

/** Why a ticket waits now; at least one reason. */
export function reasonsOf(state: EngineState, ticket: TicketRecord, now: Millis): readonly Reason[] {
  const own = ownReasons(state, ticket);
  const shared = sharedReasons(state, ticket.workload, contextOf(state, ticket, now));
  if (own.length === 0 && shared.length > 0) return shared;
  const reasons = [...own, ...shared];
  if (reasons.length === 0)
    reasons.push({ code: "POLICY", message: `policy ${policyFor(state, ticket.policy, "wait")} lets it wait` });
  return reasons;
}

/** Those that come first, and are about no other ticket. */
function ownReasons(state: EngineState, ticket: TicketRecord): readonly Reason[] {
  const reasons: Reason[] = [];
  if (state.suspended !== undefined) reasons.push({ code: "POLICY", message: state.suspended });
  const eviction = evictionReason(state, ticket);
  if (eviction !== undefined) reasons.push(eviction);
  if (!ticket.connected)
    reasons.push({ code: "BEHIND_IN_QUEUE", message: "its client is away; its place is kept for a while" });
  if (ticket.policyMessage !== "") reasons.push({ code: "POLICY", message: ticket.policyMessage });
  return reasons;
}

/** The books of one GPU, for people. */
export interface GpuAccountView {
  readonly device: GpuSample;
  readonly capacityMb?: Mib;
  readonly foreignMb?: Mib;
  readonly outstandingMb: Mib;
  readonly claimedMb: Mib;
  readonly drainingMb: Mib;
  readonly availableMb?: Mib;
  /** Empty: takes new work. */
  readonly blocked: string;
  readonly blockedCode?: ReasonCode;
  readonly leaseIds: readonly string[];
}

export function gpuAccounts(state: EngineState, now: Millis): readonly GpuAccountView[] {
  return (state.sample?.gpus ?? []).map((device) => {
    const pool = state.pools.get(poolKeyOf(device));
    const block =
      pool === undefined ? undefined : deviceBlock(device, pool, { now, ageLimitMs: state.settings.maxSampleAgeMs });
    const capacityMb = pool === undefined ? undefined : capacityOf(state, pool);
    const availableMb = pool === undefined || block !== undefined ? undefined : availableOf(state, pool);
    return {
      device,
      outstandingMb: pool?.outstandingMb ?? 0,
      claimedMb: pool?.claimedMb ?? 0,
      drainingMb: pool?.drainingMb ?? 0,
      leaseIds:
        pool === undefined
          ? []
          : [...new Set([...pool.holdings].filter((h) => h.gpuUuid === device.uuid).map((h) => h.lease.id))],
      blocked: block === undefined ? "" : blockText(device, block),
      ...(block === undefined ? {} : { blockedCode: blockCode(block) }),
      ...(capacityMb === undefined ? {} : { capacityMb }),
      ...(pool?.foreignMb === undefined ? {} : { foreignMb: pool.foreignMb }),
      ...(availableMb === undefined ? {} : { availableMb }),
    };
  });
}

function blockCode(block: DeviceBlock): ReasonCode {
  return block.kind === "unknown" || block.kind === "stale" ? "GPU_STATS_UNAVAILABLE" : "GPU_UNHEALTHY";
}

function blockText(device: GpuSample, block: DeviceBlock): string {
  switch (block.kind) {
    case "stale":
      return "its last measurement is too old";
    case "unknown":
      return device.healthMessage || "its memory is not known";
    case "lost":
      return device.healthMessage || "it does not answer";
    case "degraded":
      return device.healthMessage || "its figures are incomplete";
    case "compute-mode":
      return `compute mode ${device.computeMode} does not allow sharing`;
  }
}

/** The books of host memory, for people. */
export interface HostAccountView {
  readonly totalMb?: Mib;
  readonly capacityMb?: Mib;
  readonly freeMb?: Mib;
  readonly outstandingMb: Mib;
  readonly claimedMb: Mib;
  readonly availableMb?: Mib;
  readonly observedAt?: Millis;
}

export function hostAccount(state: EngineState, now: Millis): HostAccountView {
  const pool = state.pools.get(hostPool);
  if (pool === undefined) return { outstandingMb: 0, claimedMb: 0 };
  const capacityMb = capacityOf(state, pool);
  const availableMb = hostIsFresh(state, now) ? availableOf(state, pool) : undefined;
  const f = pool.figures;
  return {
    outstandingMb: pool.outstandingMb,
    claimedMb: pool.claimedMb,
    ...(f?.totalMb === undefined ? {} : { totalMb: f.totalMb }),
    ...(f?.freeMb === undefined ? {} : { freeMb: f.freeMb }),
    ...(f === undefined ? {} : { observedAt: f.observedAt }),
    ...(capacityMb === undefined ? {} : { capacityMb }),
    ...(availableMb === undefined ? {} : { availableMb }),
  };
}

/** Every tenant that waits, has leases or has a limit of its own, by name. */
export function tenantViews(state: EngineState, now: Millis): readonly TenantView[] {
  const names = new Set([...state.settings.tenantLimits.keys()].filter((name) => name !== "*"));
  for (const ticket of state.tickets.values()) names.add(ticket.workload.tenant);
  for (const lease of state.leases.values()) names.add(lease.workload.tenant);
  return [...names].sort().map((tenant) => {
    const has = state.running.get(tenant);
    const limits = limitsOf(state, tenant);
    return {
      tenant,
      waiting: state.line.countOf(tenant),
      gpus: has?.gpus ?? 0,
      vramMb: has?.vramMb ?? 0,
      usageMs: state.fairShare.usageOf(tenant, now),
      ...(limits.gpus === undefined ? {} : { maxGpus: limits.gpus }),
      ...(limits.vramMb === undefined ? {} : { maxVramMb: limits.vramMb }),
      ...(limits.queued === undefined ? {} : { maxWaiting: limits.queued }),
    };
  });
}
