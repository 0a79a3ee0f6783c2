import type { Effect } from "../engine/events.ts";
import type { Millis } from "../engine/sample.ts";
import type { Discipline } from "../engine/settings.ts";
import type { LeaseView, Reason, Workload } from "../engine/types.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";

/**
 * Writes every decision as one structured line, and counts it.
 * @param discipline who may be served at the moment while an earlier ticket waits.
 */
export function decisionLog(log: Log, metrics: Metrics, discipline: () => Discipline): (effect: Effect, now: Millis) => void {
  return (effect, now) => {
    const at = Math.round(now);
    switch (effect.type) {
      case "queued":
        log.info(
          {
            decision: "queue",
            at,
            ticket: effect.ticket.id,
            ...workloadFields(effect.ticket.workload),
            reasons: codes(effect.ticket.reasons),
          },
          "queued",
        );
        break;
      case "granted":
        metrics.decision("granted", "");
        log.info(
          {
            decision: "grant",
            at,
            ...(effect.ticketId === undefined ? {} : { ticket: effect.ticketId }),
            waitedMs: Math.round(effect.waitedMs),
            discipline: discipline(),
            ...leaseFields(effect.lease),
            ...workloadFields(effect.lease.workload),
          },
          "granted",
        );
        break;
      case "refused":
        metrics.decision("refused", effect.refusal.reasons[0]?.code ?? "");
        log.info(
          {
            decision: "refuse",
            at,
            ...(effect.ticketId === undefined ? {} : { ticket: effect.ticketId }),
            policy: effect.policy,
            ...workloadFields(effect.workload),
            reasons: codes(effect.refusal.reasons),
          },
          "refused",
        );
        break;
      case "timed-out":
        metrics.decision("timed_out", effect.reasons[0]?.code ?? "");
        log.info(
          {
            decision: "time-out",
            at,
            ticket: effect.ticketId,
            waitedMs: Math.round(effect.waitedMs),
            ...workloadFields(effect.workload),
            reasons: codes(effect.reasons),
          },
          "timed out",
        );
        break;
      case "withdrawn":
        log.info({ decision: "withdraw", at, ticket: effect.ticketId, why: effect.failure.reason }, "withdrawn");
        break;
      case "lease-ended":
        if (effect.why === "expired" || effect.why === "unclaimed") metrics.decision("expired", effect.why);
        if (effect.why === "evicted") metrics.decision("evicted", "");
        log.info(
          {
            decision: "end",
            at,
            lease: effect.lease.id,
            token: effect.lease.token,
            why: effect.why,
            heldMs: Math.round(now - effect.lease.grantedAt),
          },
          "lease ended",
        );
        break;
      case "evicted":
        log.info(
          {
            decision: "evict",
            at,
            ticket: effect.ticketId,
            why: effect.reason,
            tookMs: Math.round(effect.tookMs),
            victims: effect.victims.map((v) => ({
              lease: v.leaseId,
              name: v.name,
              end: v.why,
              costMs: Math.round(v.costMs),
              memory: v.pools.map((p) => ({ on: p.gpuUuid ?? "host", expectedMb: p.expectedMb, measuredMb: p.measuredMb })),
            })),
          },
          "evicted",
        );
        break;
      default:
        break;
    }
  };
}

function workloadFields(w: Workload) {
  const r = w.requirements;
  return { name: w.name, tenant: w.tenant, priority: w.priority, gpus: r.gpuCount, vramMb: r.vramMb, ramMb: r.ramMb };
}

function leaseFields(lease: LeaseView) {
  return {
    lease: lease.id,
    token: lease.token,
    policy: lease.policy,
    on: lease.gpus.map((g) => g.uuid),
    overcommitted: lease.overcommitted,
  };
}

function codes(reasons: readonly Reason[]) {
  return reasons.map((r) => ({
    code: r.code,
    gpu: r.gpuUuid,
    needed: r.neededMb,
    available: r.availableMb,
    foreign: r.foreignMb,
    outstanding: r.outstandingMb,
  }));
}
