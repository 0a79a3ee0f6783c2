import { availableOf, capacityOf, poolKeyOf } from "./books.ts";
import { comingTo } from "./coming.ts";
import { type KeptStart, keptGpus, leavesRoom } from "./kept-start.ts";
import type { GpuSample, Mib, Millis } from "./sample.ts";
import {
  type EngineState,
  type Holding,
  hostPool,
  type LeaseRecord,
  type Pool,
  type PoolKey,
  type TicketHold,
  type TicketRecord,
} from "./state.ts";
import type { LeasedGpu, Requirements } from "./types.ts";

/** What a fit is judged under besides the books. */
export interface FitContext {
  readonly now: Millis;
  /** GPU measurements older than this decide nothing. */
  readonly ageLimitMs: Millis;
  /** Memory that is held for tickets that come first. */
  readonly holds: readonly TicketHold[];
  /** Room must be left for this start: the work may still run then. */
  readonly kept?: KeptStart;
  /** It is to start as soon as memory of an ended lease is seen to be free; until then nobody does. */
  readonly chosen?: TicketRecord;
  /** Under strict-fifo: the ticket that comes first. Nothing fits before it. */
  readonly behind?: TicketRecord;
  /** Judged as if these had left. */
  readonly gone?: Gone;
}

/** Leases that are thought away, with the memory that would be available without them. */
export interface Gone {
  readonly leases: ReadonlySet<LeaseRecord>;
  readonly mb: ReadonlyMap<PoolKey, Mib>;
}

export interface Placement {
  readonly gpus: readonly LeasedGpu[];
  /** True when a GPU was taken although its memory is not known (`whenBlind: "allow"`). */
  readonly blind: boolean;
}

/** Why a device takes nothing new, whatever the size. */
export type DeviceBlock =
  | { readonly kind: "lost" | "degraded" | "compute-mode" }
  | { readonly kind: "unknown" }
  | { readonly kind: "stale"; readonly ageMs: Millis };

/** The devices that a request may use, by index. */
export function allowedDevices(state: EngineState, req: Requirements): readonly GpuSample[] {
  const all = state.sample?.gpus ?? [];
  return req.gpuUuids.length === 0 ? all : all.filter((g) => req.gpuUuids.includes(g.uuid));
}

export function deviceBlock(
  device: GpuSample,
  pool: Pool,
  ctx: Pick<FitContext, "now" | "ageLimitMs">,
): DeviceBlock | undefined {
  if (device.health === "lost") return { kind: "lost" };
  if (device.health === "unknown") return { kind: "unknown" };
  const ageMs = ctx.now - (pool.figures?.observedAt ?? Number.NEGATIVE_INFINITY);
  if (ageMs > ctx.ageLimitMs) return { kind: "stale", ageMs };
  if (pool.figures?.freeMb === undefined) return { kind: "unknown" };
  if (device.health === "degraded") return { kind: "degraded" };
  if (device.computeMode !== undefined && device.computeMode !== "" && device.computeMode !== "Default")
    return { kind: "compute-mode" };
  return undefined;
}

/** The lease that keeps a device for itself, or that stands in the way of a request that wants it for itself. */
export function exclusivityConflict(pool: Pool, wantsExclusive: boolean, gone?: Gone): Holding | undefined {
  for (const h of pool.holdings) {
    if (h.gpuUuid === undefined || h.lease.phase === "releasing" || gone?.leases.has(h.lease)) continue;
    if (wantsExclusive || h.lease.workload.requirements.exclusive) return h;
  }
  return undefined;
}

/** The hold on a pool that leaves the least beside it. `holds` in order of service. */
export function tightestHold(
  state: EngineState,
  pool: Pool,
  holds: readonly TicketHold[],
  gone?: Gone,
): { readonly hold: TicketHold; readonly besideMb: Mib } | undefined {
  let tightest: { readonly hold: TicketHold; readonly besideMb: Mib } | undefined;
  let wantedMb = 0;
  for (const hold of holds) {
    if (!hold.pools.has(pool.key)) continue;
    // Each of those that leases are taken back for is to have its own.
    if (hold.since === undefined) wantedMb += neededOn(pool, hold);
    const besideMb =
      hold.since === undefined ? thenFree(state, pool, gone) - wantedMb : besideHold(state, pool, hold, hold.since, gone);
    if (tightest === undefined || besideMb < tightest.besideMb) tightest = { hold, besideMb };
  }
  return tightest;
}

/** What may be had on a held pool beside the ticket it is held for and those who came since, once all others have left. */
function besideHold(state: EngineState, pool: Pool, hold: TicketHold, since: number, gone?: Gone): Mib {
  const capacity = capacityOf(state, pool);
  if (capacity === undefined) return -1;
  let claimed = 0;
  for (const h of pool.holdings) {
    const { phase, token } = h.lease;
    if (phase === "releasing" || token < since || gone?.leases.has(h.lease)) continue;
    claimed += Math.max(h.reservedMb, h.residentMb ?? 0);
  }
  return capacity - (pool.foreignMb ?? 0) - claimed - neededOn(pool, hold);
}

/** What may be had on a pool once those who are leaving have left. */
function thenFree(state: EngineState, pool: Pool, gone?: Gone): Mib {
  const available = availableWithout(state, pool, gone);
  return available === undefined ? Number.NEGATIVE_INFINITY : available + comingTo(pool, gone?.leases);
}

/** Who wants its GPUs for itself leaves nothing. */
function neededOn(pool: Pool, { ticket }: TicketHold): Mib {
  const { exclusive, gpuCount, vramMb } = ticket.workload.requirements;
  return exclusive ? Infinity : vramMb * Math.min(gpuCount, pool.devices.length);
}

/** Host memory needs no fresher figures than the host is measured: its own limit, not a ticket's. */
export function hostIsFresh(state: EngineState, now: Millis): boolean {
  const at = state.pools.get(hostPool)?.figures?.observedAt;
  return at !== undefined && now - at <= state.settings.maxSampleAgeMs;
}

/** Host memory that a new request could get, after what is held for earlier tickets. Undefined when it is not known. */
export function ramAvailable(state: EngineState, ctx: Pick<FitContext, "now" | "holds" | "gone">): Mib | undefined {
  const pool = state.pools.get(hostPool);
  if (pool === undefined || !hostIsFresh(state, ctx.now)) return undefined;
  const available = availableOf(state, pool);
  if (available === undefined) return undefined;
  let held = 0;
  let wanted = 0;
  for (const h of ctx.holds) {
    if (h.since === undefined) wanted += h.ramMb ?? 0;
    else held += h.ramMb ?? 0;
  }
  const beside = Math.min(0, comingTo(pool, ctx.gone?.leases) - wanted);
  return available - held + beside + (ctx.gone?.mb.get(hostPool) ?? 0);
}

/** What a pool would have available without these. Undefined when it is not known. */
export function availableWithout(state: EngineState, pool: Pool, gone: Gone | undefined): Mib | undefined {
  const available = availableOf(state, pool);
  return available === undefined ? undefined : available + (gone?.mb.get(pool.key) ?? 0);
}

interface Candidate {
  readonly device: GpuSample;
  readonly pool: Pool;
  readonly availableMb: Mib | undefined;
}

/**
 * Where the request fits now; undefined: nowhere. All or nothing over its GPUs. Packs: the fullest GPU that fits, ties by
 * index, so that large holes stay whole; GPUs whose memory is not known come last.
 */
export function placementFor(state: EngineState, req: Requirements, ctx: FitContext): Placement | undefined {
  if (ctx.behind !== undefined || ctx.chosen !== undefined) return undefined;
  const placed = placementBy(state, req, ctx);
  const { kept } = ctx;
  if (kept === undefined || placed === undefined || leavesRoom(kept, req, uuidsOf(placed))) return placed;
  // Where it fits best it would be in the way; elsewhere it may not.
  if (req.gpuCount === 1) return placeBeside(state, req, ctx, kept);
  const without = new Set(keptGpus(kept));
  const uuids = allowedDevices(state, req)
    .map((d) => d.uuid)
    .filter((uuid) => !without.has(uuid));
  if (uuids.length < req.gpuCount || req.gpuCount === 0) return undefined;
  const elsewhere = placementBy(state, { ...req, gpuUuids: uuids }, ctx);
  return elsewhere !== undefined && leavesRoom(kept, req, uuidsOf(elsewhere)) ? elsewhere : undefined;
}

/** The fullest single GPU on which it leaves room for the kept start. */
function placeBeside(state: EngineState, req: Requirements, ctx: FitContext, kept: KeptStart): Placement | undefined {
  const without = new Set<string>();
  const allowed = allowedDevices(state, req).map((d) => d.uuid);
  for (;;) {
    const gpuUuids = allowed.filter((uuid) => !without.has(uuid));
    if (gpuUuids.length === 0) return undefined;
    const placed = placementBy(state, { ...req, gpuUuids }, ctx);
    if (placed === undefined) return undefined;
    const [uuid] = uuidsOf(placed);
    if (uuid === undefined || leavesRoom(kept, req, [uuid])) return placed;
    without.add(uuid);
  }
}

function uuidsOf(placement: Placement): readonly string[] {
  return placement.gpus.map((g) => g.uuid);
}

function placementBy(state: EngineState, req: Requirements, ctx: FitContext): Placement | undefined {
  const chosen = chooseDevices(state, req, ctx);
  if (chosen === undefined) return undefined;
  const onHost = chosen.filter((c) => c.pool.key === hostPool).length * req.vramMb;
  const ramNeeded = req.ramMb + onHost;
  if (ramNeeded > 0) {
    const ram = ramAvailable(state, ctx);
    if (ram === undefined ? state.settings.whenBlind === "refuse" : ram < ramNeeded) return undefined;
  }
  return {
    gpus: chosen
      .map((c) => ({ uuid: c.device.uuid, index: c.device.index, vramMb: req.vramMb }))
      .sort((a, b) => a.index - b.index),
    blind: chosen.some((c) => c.availableMb === undefined),
  };
}

function chooseDevices(state: EngineState, req: Requirements, ctx: FitContext): readonly Candidate[] | undefined {
  if (req.gpuCount === 0) return [];
  const candidates: Candidate[] = [];
  for (const device of allowedDevices(state, req)) {
    const pool = state.pools.get(poolKeyOf(device));
    if (pool === undefined || exclusivityConflict(pool, req.exclusive, ctx.gone)) continue;
    const block = deviceBlock(device, pool, ctx);
    const blind = block?.kind === "unknown" || block?.kind === "stale";
    if (block !== undefined && !(blind && state.settings.whenBlind === "allow")) continue;
    const held = tightestHold(state, pool, ctx.holds, ctx.gone);
    if (held !== undefined && (blind || req.exclusive)) continue;
    const free = blind ? undefined : availableWithout(state, pool, ctx.gone);
    const availableMb = free === undefined || held === undefined ? free : Math.min(free, held.besideMb);
    if (availableMb !== undefined && availableMb < req.vramMb) continue;
    candidates.push({ device, pool, availableMb });
  }
  if (candidates.length < req.gpuCount) return undefined;
  candidates.sort((a, b) => (a.availableMb ?? Infinity) - (b.availableMb ?? Infinity) || a.device.index - b.device.index);
  return takeWithinPools(candidates, req);
}

/** Devices that share a pool share its memory: the second one must fit beside the first. */
function takeWithinPools(candidates: readonly Candidate[], req: Requirements): readonly Candidate[] | undefined {
  const taken = new Map<PoolKey, Mib>();
  const chosen: Candidate[] = [];
  for (const c of candidates) {
    if (chosen.length === req.gpuCount) break;
    const before = taken.get(c.pool.key) ?? 0;
    if (c.availableMb !== undefined && before + req.vramMb > c.availableMb) continue;
    // A request that wants its GPUs for itself may still have two devices of one pool: they are both its own.
    taken.set(c.pool.key, before + req.vramMb);
    chosen.push(c);
  }
  return chosen.length === req.gpuCount ? chosen : undefined;
}

/**
 * Where a grant goes that is made whether it fits or not (permissive, or a custom policy): where it fits if it does; else the GPUs
 * with the most room, as many as there are.
 */
export function placeAnyway(state: EngineState, req: Requirements, now: Millis): { gpus: readonly LeasedGpu[]; fits: boolean } {
  const placed = placementFor(state, req, { now, ageLimitMs: state.settings.maxSampleAgeMs, holds: [] });
  if (placed !== undefined) return { gpus: placed.gpus, fits: !placed.blind };
  const devices = allowedDevices(state, req).filter((d) => d.health !== "lost");
  const room = (device: GpuSample): Mib => {
    const pool = state.pools.get(poolKeyOf(device));
    return (pool === undefined ? undefined : availableOf(state, pool)) ?? Number.MIN_SAFE_INTEGER;
  };
  const byRoom = [...devices].sort((a, b) => room(b) - room(a) || a.index - b.index);
  const gpus = byRoom.slice(0, req.gpuCount).map((d) => ({ uuid: d.uuid, index: d.index, vramMb: req.vramMb }));
  return { gpus: gpus.sort((a, b) => a.index - b.index), fits: false };
}
