import { poolKeyOf } from "./books.ts";
import {
  allowedDevices,
  availableWithout,
  deviceBlock,
  exclusivityConflict,
  type FitContext,
  hostIsFresh,
  placementFor,
  ramAvailable,
  tightestHold,
} from "./fit.ts";
import { mib } from "./mib.ts";
import type { GpuSample, Mib } from "./sample.ts";
import { type EngineState, hostPool, type Pool, type TicketHold, type TicketRecord } from "./state.ts";
import type { Reason, Requirements } from "./types.ts";

/**
 * Why a request does not fit now, with the numbers. One reason for each GPU that stands in the way, and one for host memory.
 * Worked out from the books when somebody asks, never stored: a reason that is not current is a bug.
 */
export function whyNot(state: EngineState, req: Requirements, ctx: FitContext): readonly Reason[] {
  const reasons: Reason[] = [];
  if (req.gpuCount > 0) gpuReasons(state, req, ctx, reasons);
  const unified = req.gpuCount > 0 && allowedDevices(state, req).some((d) => poolKeyOf(d) === hostPool);
  const ram = ramReason(state, req.ramMb + (unified ? req.vramMb * req.gpuCount : 0), ctx);
  if (ram !== undefined) reasons.push(ram);
  keptBack(state, req, ctx, reasons);
  // Devices that share one memory can each fit and yet not fit together.
  if (reasons.length === 0 && placementFor(state, req, ctx) === undefined) {
    const message = `${req.gpuCount} GPUs with ${mib(req.vramMb)} each do not fit at the same time`;
    reasons.push({ code: "INSUFFICIENT_GPU_MEMORY", message, neededMb: req.vramMb });
  }
  return reasons;
}

/** It fits, and somebody who comes first would have to wait longer for it. */
function keptBack(state: EngineState, req: Requirements, ctx: FitContext, reasons: Reason[]): void {
  const { behind, kept, chosen, ...plain } = ctx;
  if (behind === undefined && kept === undefined && chosen === undefined) return;
  if (placementFor(state, req, plain) === undefined) return;
  if (behind !== undefined) {
    const why =
      state.discipline === "strict-fifo" ? "and the discipline is strict-fifo" : "and waits for the limit that they share";
    const message = `it fits, but ${behind.id} comes first, ${why}`;
    reasons.unshift({ code: "BEHIND_IN_QUEUE", message, heldBy: [behind.id] });
    return;
  }
  if (chosen !== undefined) {
    const message = `memory of a lease that has ended is about to be seen free, and who starts is decided with it; ${chosen.id} comes next`;
    reasons.unshift({ code: "WAITING_FOR_RELEASE", message, heldBy: [chosen.id] });
    return;
  }
  if (kept === undefined || placementFor(state, req, ctx) !== undefined) return;
  // No time in the text: it would change all the while, and be told again each time.
  const message =
    kept.care === "bound"
      ? `it fits, but may still run at the start that is promised to ${kept.ticket.id}, and would delay it`
      : `it fits, but would probably still run when ${kept.ticket.id} can start, and would delay it`;
  reasons.unshift({ code: "HELD_FOR_EARLIER_TICKET", message, heldBy: [kept.ticket.id] });
}

function gpuReasons(state: EngineState, req: Requirements, ctx: FitContext, reasons: Reason[]): void {
  const { sample } = state;
  if (sample === undefined) {
    reasons.push({ code: "GPU_STATS_UNAVAILABLE", message: "no measurement has come in yet" });
    return;
  }
  const devices = allowedDevices(state, req);
  if (devices.length < req.gpuCount) {
    reasons.push(
      sample.gpusUnknown
        ? { code: "GPU_STATS_UNAVAILABLE", message: sample.message || "the GPUs of this machine are not known" }
        : {
            code: "NO_GPU",
            message: `${req.gpuCount} GPUs are needed and ${devices.length} that the request allows are there`,
          },
    );
  }
  for (const device of devices) {
    const pool = state.pools.get(poolKeyOf(device));
    if (pool === undefined) continue;
    const reason = deviceReason(state, device, pool, req, ctx);
    if (reason !== undefined) reasons.push(reason);
  }
}

function deviceReason(
  state: EngineState,
  device: GpuSample,
  pool: Pool,
  req: Requirements,
  ctx: FitContext,
): Reason | undefined {
  const gpu = `GPU ${device.index}`;
  const at = { gpuUuid: device.uuid, neededMb: req.vramMb };
  const block = deviceBlock(device, pool, ctx);
  switch (block?.kind) {
    case "lost":
      return { code: "GPU_UNHEALTHY", message: `${gpu} does not answer: ${device.healthMessage || "it is lost"}`, ...at };
    case "degraded":
      return {
        code: "GPU_UNHEALTHY",
        message: `${gpu} is not trusted: ${device.healthMessage || "its figures are incomplete"}`,
        ...at,
      };
    case "compute-mode":
      return {
        code: "GPU_UNHEALTHY",
        message: `${gpu} is in compute mode ${device.computeMode}, which does not allow sharing (nvidia-smi -c DEFAULT allows it)`,
        ...at,
      };
    case "unknown":
      return {
        code: "GPU_STATS_UNAVAILABLE",
        message: `the memory of ${gpu} is not known: ${device.healthMessage || state.sample?.message || "it was not measured"}`,
        ...at,
      };
    case "stale":
      return {
        code: "GPU_STATS_UNAVAILABLE",
        message: `the last measurement of ${gpu} is ${seconds(block.ageMs)} old; at most ${seconds(ctx.ageLimitMs)} is accepted`,
        ...at,
      };
    case undefined:
      break;
  }
  // A unified GPU's memory is the host's: told once, by ramReason.
  return pool.key === hostPool ? undefined : memoryReason(state, pool, req, ctx, gpu, at);
}

function memoryReason(
  state: EngineState,
  pool: Pool,
  req: Requirements,
  ctx: FitContext,
  gpu: string,
  at: { gpuUuid: string; neededMb: Mib },
): Reason | undefined {
  const rival = exclusivityConflict(pool, req.exclusive, ctx.gone);
  if (rival !== undefined) {
    const message = rival.lease.workload.requirements.exclusive
      ? `${gpu} is leased exclusively to ${rival.lease.id}`
      : `${gpu} is wanted exclusively and ${rival.lease.id} has a lease on it`;
    return { code: "INSUFFICIENT_GPU_MEMORY", message, ...at, availableMb: 0, heldBy: holders(pool) };
  }
  const availableMb = availableWithout(state, pool, ctx.gone);
  if (availableMb === undefined) return undefined;
  if (availableMb < req.vramMb) {
    const numbers = {
      ...at,
      availableMb,
      outstandingMb: pool.outstandingMb,
      heldBy: holders(pool),
      ...(pool.foreignMb === undefined ? {} : { foreignMb: pool.foreignMb }),
    };
    if (availableMb + pool.drainingMb >= req.vramMb) {
      return {
        code: "WAITING_FOR_RELEASE",
        message: `${gpu}: ${mib(pool.drainingMb)} of leases that have ended are not seen to be free yet`,
        ...numbers,
      };
    }
    const parts = [
      `${gpu} has ${mib(Math.max(0, availableMb))} available of the ${mib(req.vramMb)} needed`,
      ...(pool.foreignMb ? [`${mib(pool.foreignMb)} are used by processes without a lease`] : []),
      ...(pool.claimedMb > 0
        ? [
            `${mib(pool.claimedMb)} are leased${pool.outstandingMb > 0 ? ` (${mib(pool.outstandingMb)} of them not in use yet)` : ""}`,
          ]
        : []),
    ];
    return { code: "INSUFFICIENT_GPU_MEMORY", message: parts.join("; "), ...numbers };
  }
  const held = tightestHold(state, pool, ctx.holds, ctx.gone);
  if (held !== undefined && (req.exclusive || held.besideMb < req.vramMb)) {
    const { hold } = held;
    return {
      code: "HELD_FOR_EARLIER_TICKET",
      message: `${gpu} is held for ${hold.ticket.id}, ${whyHeld(state, hold)}`,
      ...at,
      availableMb,
      heldBy: [hold.ticket.id],
    };
  }
  return undefined;
}

function whyHeld(state: EngineState, { ticket, since }: TicketHold): string {
  return since === undefined
    ? "and idle leases are taken back for it"
    : `which has been overtaken ${state.line.overtakenOf(ticket)} times`;
}

/** Idle leases are being taken back for the ticket. */
export function evictionReason(state: EngineState, ticket: TicketRecord): Reason | undefined {
  const eviction = state.evictions.byTicket.get(ticket.id);
  if (eviction === undefined) return undefined;
  const victims = [...eviction.victims.keys()];
  const names = [...new Set(victims.map((lease) => lease.workload.name))];
  const shown = names.length > 4 ? `${names.slice(0, 4).join(", ")} and ${names.length - 4} more` : names.join(", ");
  return {
    code: "WAITING_FOR_EVICTION",
    message: `memory of ${shown}, which ${names.length === 1 ? "was" : "were"} idle, is taken back for it`,
    heldBy: victims.map((lease) => lease.id).slice(0, 16),
  };
}

function ramReason(state: EngineState, neededMb: Mib, ctx: FitContext): Reason | undefined {
  if (neededMb === 0) return undefined;
  const pool = state.pools.get(hostPool);
  const availableMb = ramAvailable(state, ctx);
  if (pool === undefined || availableMb === undefined) {
    const why = hostIsFresh(state, ctx.now) ? "its figures are incomplete" : "no fresh measurement is there";
    return { code: "INSUFFICIENT_SYSTEM_RAM", message: `host memory is not known: ${why}`, neededMb };
  }
  if (availableMb >= neededMb) return undefined;
  const withoutHolds = availableWithout(state, pool, ctx.gone) ?? availableMb;
  if (withoutHolds >= neededMb) {
    const heldBy = ctx.holds.filter((h) => h.ramMb !== undefined).map((h) => h.ticket.id);
    return {
      code: "HELD_FOR_EARLIER_TICKET",
      message: `host memory is held for ${heldBy[0]}, which comes first`,
      neededMb,
      availableMb,
      heldBy,
    };
  }
  const numbers = { neededMb, availableMb: withoutHolds, outstandingMb: pool.outstandingMb, heldBy: holders(pool) };
  if (withoutHolds + pool.drainingMb >= neededMb) {
    return {
      code: "WAITING_FOR_RELEASE",
      message: `${mib(pool.drainingMb)} of host memory of leases that have ended are not seen to be free yet`,
      ...numbers,
    };
  }
  const message = `the host has ${mib(Math.max(0, withoutHolds))} of memory available of the ${mib(neededMb)} needed${pool.claimedMb > 0 ? `; ${mib(pool.claimedMb)} are leased` : ""}`;
  return { code: "INSUFFICIENT_SYSTEM_RAM", message, ...numbers };
}

function holders(pool: Pool): readonly string[] {
  return [...new Set([...pool.holdings].filter((h) => h.lease.phase !== "ended").map((h) => h.lease.id))].slice(0, 16);
}

function seconds(ms: number): string {
  return Number.isFinite(ms) ? `${(ms / 1000).toFixed(1)} s` : "a very long time";
}
