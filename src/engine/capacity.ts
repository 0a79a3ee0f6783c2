import { availableOf, capacityOf, poolKeyOf } from "./books.ts";
import { allowedDevices, deviceBlock, exclusivityConflict, type FitContext, ramAvailable, tightestHold } from "./fit.ts";
import { mib } from "./mib.ts";
import type { Mib } from "./sample.ts";
import { type EngineState, hostPool, type PoolKey } from "./state.ts";
import type { LargestFit, Reason, Refusal, Requirements } from "./types.ts";

/**
 * Never-fits: no, even if every lease ended and every foreign process went away. Judged against capacity alone, so a shortage
 * that can pass is never told as final. Undefined: it could fit, or the machine is not known well enough to say no.
 */
export function neverFits(state: EngineState, req: Requirements): Refusal | undefined {
  if (state.sample === undefined) return undefined;
  const reasons = [...gpuNever(state, req), ...ramNever(state, req)];
  if (reasons.length === 0) return undefined;
  const largest = largestEver(state, req);
  return { reasons, ...(largest === undefined ? {} : { largestThatFits: largest }) };
}

function gpuNever(state: EngineState, req: Requirements): readonly Reason[] {
  if (req.gpuCount === 0 || state.sample?.gpusUnknown) return [];
  const devices = allowedDevices(state, req);
  if (devices.length < req.gpuCount) {
    const what = req.gpuUuids.length > 0 ? "GPUs that the request allows" : "GPUs";
    const message = `${req.gpuCount} ${req.gpuCount === 1 ? "GPU is" : "GPUs are"} needed and this machine has ${devices.length} ${what}`;
    return [
      { code: "NEVER_FITS", message: `can never run here: ${message}` },
      { code: "NO_GPU", message },
    ];
  }
  const best = shares(state, req, (key) => {
    const pool = state.pools.get(key);
    return pool === undefined ? undefined : capacityOf(state, pool);
  });
  if (best === undefined || best >= req.vramMb) return [];
  const on = req.gpuCount === 1 ? "one GPU" : `each of ${req.gpuCount} GPUs`;
  return [
    {
      code: "NEVER_FITS",
      message: `${mib(req.vramMb)} on ${on} can never fit here: at most ${mib(best)} can be promised, even when the machine is empty`,
      neededMb: req.vramMb,
      availableMb: best,
    },
  ];
}

function ramNever(state: EngineState, req: Requirements): readonly Reason[] {
  const host = state.pools.get(hostPool);
  const capacity = host === undefined ? undefined : capacityOf(state, host);
  if (capacity === undefined || req.ramMb <= capacity) return [];
  return [
    {
      code: "NEVER_FITS",
      message: `${mib(req.ramMb)} of host memory can never fit here: at most ${mib(capacity)} can be promised, even when the machine is empty`,
      neededMb: req.ramMb,
      availableMb: capacity,
    },
  ];
}

/**
 * The largest memory per GPU with which `gpuCount` devices still fit, given the room in each pool. A pool of room r holds n devices
 * of at most r/n each. Undefined when some room is not known: then nothing can be said.
 */
function shares(state: EngineState, req: Requirements, room: (key: PoolKey) => Mib | undefined): Mib | undefined {
  const byPool = new Map<PoolKey, number>();
  for (const d of allowedDevices(state, req)) byPool.set(poolKeyOf(d), (byPool.get(poolKeyOf(d)) ?? 0) + 1);
  const sizes: Mib[] = [];
  for (const [key, devices] of byPool) {
    const r = room(key);
    if (r === undefined) return undefined;
    const onHost = key === hostPool ? r - req.ramMb : r;
    for (let n = 1; n <= devices; n++) sizes.push(Math.floor(onHost / n));
  }
  sizes.sort((a, b) => b - a);
  return sizes[req.gpuCount - 1];
}

/** The largest request of the same shape that an empty machine could hold. */
export function largestEver(state: EngineState, req: Requirements): LargestFit | undefined {
  const host = state.pools.get(hostPool);
  const ram = req.ramMb === 0 || host === undefined ? 0 : Math.max(0, capacityOf(state, host) ?? 0);
  if (req.gpuCount === 0) return { gpuCount: 0, vramMb: 0, ramMb: ram };
  const gpuCount = Math.min(req.gpuCount, allowedDevices(state, req).length);
  if (gpuCount === 0) return undefined;
  const vram = shares(state, { ...req, gpuCount, ramMb: 0 }, (key) => {
    const pool = state.pools.get(key);
    return (pool === undefined ? undefined : capacityOf(state, pool)) ?? 0;
  });
  return { gpuCount, vramMb: Math.max(0, vram ?? 0), ramMb: ram };
}

/** The largest request of the same shape that would get a lease now; undefined when none would. */
export function largestNow(state: EngineState, req: Requirements, ctx: FitContext): LargestFit | undefined {
  const ram = req.ramMb === 0 ? 0 : ramAvailable(state, ctx);
  if (ram === undefined || ram < 0) return undefined;
  if (req.gpuCount === 0) return { gpuCount: 0, vramMb: 0, ramMb: ram };
  const blocked = -1;
  const vram = shares(state, { ...req, ramMb: 0 }, (key) => {
    const pool = state.pools.get(key);
    const device = pool?.devices.find((d) => deviceBlock(d, pool, ctx) === undefined);
    if (pool === undefined || device === undefined || exclusivityConflict(pool, req.exclusive)) return blocked;
    const held = tightestHold(state, pool, ctx.holds);
    if (held !== undefined && req.exclusive) return blocked;
    return Math.min(availableOf(state, pool) ?? blocked, held?.besideMb ?? Infinity);
  });
  return vram === undefined || vram < 0 ? undefined : { gpuCount: req.gpuCount, vramMb: vram, ramMb: ram };
}

/** The most that one GPU, and the host, could give if nothing else ran. Absent where no size is known. */
export function largestShare(state: EngineState): { readonly vramMb?: Mib; readonly ramMb?: Mib } {
  const sizes = (state.sample?.gpus ?? []).map((d) => {
    const pool = state.pools.get(poolKeyOf(d));
    return pool === undefined ? undefined : capacityOf(state, pool);
  });
  const known = sizes.filter((mb) => mb !== undefined);
  const host = state.pools.get(hostPool);
  const ramMb = host === undefined ? undefined : capacityOf(state, host);
  return {
    ...(known.length === 0 ? {} : { vramMb: Math.max(...known) }),
    ...(ramMb === undefined ? {} : { ramMb }),
  };
}
