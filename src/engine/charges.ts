import type { Millis } from "./sample.ts";
import type { EngineState, LeaseRecord } from "./state.ts";

/**
 * Charges a tenant for its lease: at admission for as long as it is thought to run, so that a burst of requests does not get in
 * before anything counts; again for as long whenever it has run for what was charged.
 *
 * While a lease is idle and its holder gives it back when asked, nobody is charged: anybody who waits could have it.
 */
export function charge(state: EngineState, lease: LeaseRecord, forMs: Millis, now: Millis): void {
  if (state.settings.fairShareHalfLifeMs === 0) return;
  const ms = Math.max(1, forMs);
  state.fairShare.charge(lease.workload.tenant, lease.share * ms, now);
  lease.chargedUntil += ms;
  state.wakes.push({ at: lease.chargedUntil, kind: "lease-charge", id: lease.id });
}

/** It has run for what was charged. */
export function chargeOn(state: EngineState, lease: LeaseRecord, now: Millis): void {
  charge(state, lease, lease.chargedUntil - lease.chargedFrom, now);
}

/** What was charged and not used is given back. */
export function stopCharging(state: EngineState, lease: LeaseRecord, now: Millis): void {
  const { fairShareHalfLifeMs: halfLife } = state.settings;
  if (halfLife === 0 || lease.chargedUntil <= now) return;
  // What was charged has decayed since; as much of it is given back as is left of it.
  const left = 0.5 ** ((now - lease.chargedFrom) / halfLife);
  state.fairShare.refund(lease.workload.tenant, lease.share * (lease.chargedUntil - now) * left, now);
  lease.chargedUntil = now;
}

/** It is used again, or nobody else can have it any more. */
export function chargeAgain(state: EngineState, lease: LeaseRecord, now: Millis): void {
  if (lease.chargedUntil > now) return;
  lease.chargedFrom = now;
  lease.chargedUntil = now;
  charge(state, lease, lease.estimateMs, now);
}
