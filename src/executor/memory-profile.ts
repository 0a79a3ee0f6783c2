import { createHash } from "node:crypto";
import { maxMib } from "../engine/request-limits.ts";
import type { Mib } from "../engine/sample.ts";
import type { Requirements } from "../engine/types.ts";
import { canonicalJson } from "./json.ts";
import type { PluginManifest } from "./manifest.ts";

/** Runs whose peaks are remembered. */
export const profileWindow = 64;
/** Measured runs that "replace" needs before it asks for less than was declared. */
export const runsToLower = 5;
const maxProfiles = 1_000;
/** After it ran out of memory: freeing just what the failed try had reached leaves the next one a little short again. */
const afterOutOfMemoryFactor = 1.25;

/**
 * What learned memory does to what a manifest declares.
 *
 * - `max`: the larger of the two, from the first measured run on.
 * - `replace`: what was learned, also where that is less, once {@link runsToLower} runs were measured; until then as `max`.
 * - `off`: only what is declared.
 */
export type LearnedMemory = "max" | "replace" | "off";

/** One run that has ended. A number that was not measured is absent: it says nothing then, and never that nothing was used. */
export interface RunMemory {
  /** Its peak, the largest over its GPUs. */
  readonly vramMb?: Mib;
  /** Its peak of host memory. */
  readonly ramMb?: Mib;
  /** However it failed, it had not got everything yet that it needed: its peak is a lower bound. */
  readonly failed: boolean;
  /** What its lease had promised it, per GPU and of the host; absent when that is not known. */
  readonly granted?: MemoryLimit;
}

/** Memory per GPU and of the host; a number that is not known is absent. */
export interface MemoryLimit {
  readonly vramMb?: Mib;
  readonly ramMb?: Mib;
}

/** What was learned. A number that is not known is absent. */
export interface MemoryProfile {
  /** 95th percentile of the peaks of the last successful runs, per GPU. No margin is in it: that is the engine's. */
  readonly learnedVramMb?: Mib;
  readonly learnedRamMb?: Mib;
  /** Runs that this rests on, at most {@link profileWindow}; 0 when all that is known comes from runs that failed. */
  readonly runs: number;
  /** What a failed run had reached per GPU, where that is more than what was learned: it needs more than that. */
  readonly atLeastVramMb?: Mib;
  readonly atLeastRamMb?: Mib;
}

/** A profile as the outside sees it. */
export interface MemoryView extends MemoryProfile {
  /** What the next start will ask for. */
  readonly asksFor: Requirements;
}

/** Peaks of one resource as plain data; see Peaks. */
export interface PeaksMemo {
  readonly peaks: readonly Mib[];
  readonly bound?: Mib;
  readonly successesSinceBound: number;
}

/** What ran out. */
export interface OutOfMemory {
  readonly resource: "gpu" | "ram";
  /** What the plugin said that it needs, when it said so. */
  readonly neededMb?: Mib;
}

/** Asked for with each execution, and a manifest never changes. */
const profileKeys = new WeakMap<PluginManifest, string>();

/** Names what is learned about: a plugin in one version and one configuration. With another one it starts unmeasured. */
export function profileKey(manifest: PluginManifest): string {
  const known = profileKeys.get(manifest);
  if (known !== undefined) return known;
  const key = makeProfileKey(manifest);
  profileKeys.set(manifest, key);
  return key;
}

function makeProfileKey(m: PluginManifest): string {
  const configuration = canonicalJson({
    command: [...m.command],
    env: { ...m.env },
    mode: m.mode,
    max_concurrency: m.maxConcurrency,
    gpu_count: m.requirements.gpuCount,
    exclusive: m.requirements.exclusive,
  });
  return canonicalJson([m.name, m.version, createHash("sha256").update(configuration).digest("hex")]);
}

/**
 * What plugins were measured to use. Pure: it is told about runs and answers from them. At most 1,000 keys are remembered; the
 * ones that were not run or started for longest go first.
 */
export class MemoryProfiles {
  /** Least recently used first. */
  readonly #profiles = new Map<string, { readonly vram: Peaks; readonly ram: Peaks }>();

  /** Takes in a run that has ended. What was not measured is no observation. */
  observe(key: string, run: RunMemory): void {
    const vramMb = measured(run.vramMb);
    const ramMb = measured(run.ramMb);
    if (vramMb === undefined && ramMb === undefined) return;
    const profile = this.#used(key) ?? { vram: new Peaks(), ram: new Peaks() };
    this.#profiles.set(key, profile);
    if (vramMb !== undefined) profile.vram.observe(vramMb, run.failed, run.granted?.vramMb);
    if (ramMb !== undefined) profile.ram.observe(ramMb, run.failed, run.granted?.ramMb);
    for (const oldest of this.#profiles.keys()) {
      if (this.#profiles.size <= maxProfiles) break;
      this.#profiles.delete(oldest);
    }
  }

  /** Undefined before the first measured run. Being looked at is not being used. */
  profileOf(key: string): MemoryProfile | undefined {
    const profile = this.#profiles.get(key);
    if (profile === undefined) return undefined;
    const { vram, ram } = profile;
    const [learnedVramMb, learnedRamMb, atLeastVramMb, atLeastRamMb] = [vram.learned, ram.learned, vram.atLeast, ram.atLeast];
    return {
      ...(learnedVramMb === undefined ? {} : { learnedVramMb }),
      ...(learnedRamMb === undefined ? {} : { learnedRamMb }),
      runs: Math.max(vram.runs, ram.runs),
      ...(atLeastVramMb === undefined ? {} : { atLeastVramMb }),
      ...(atLeastRamMb === undefined ? {} : { atLeastRamMb }),
    };
  }

  /**
   * What a start should ask for. Without a profile that is what was declared.
   * @param ceiling what one GPU, and the host, could give if nothing else ran. Nothing that was learned raises a need beyond it: a
   * run that went to the very edge would otherwise never be admitted again. It does not lower what was declared.
   */
  needOf(key: string, declared: Requirements, mode: LearnedMemory, ceiling: MemoryLimit = {}): Requirements {
    const profile = this.#used(key);
    return profile === undefined ? declared : needed(profile, declared, mode, ceiling);
  }

  /** For listings: what was learned, and what that makes the next start ask for. Undefined before the first measured run. */
  viewOf(key: string, declared: Requirements, mode: LearnedMemory, ceiling: MemoryLimit = {}): MemoryView | undefined {
    const profile = this.profileOf(key);
    const peaks = this.#profiles.get(key);
    if (profile === undefined || peaks === undefined) return undefined;
    return { ...profile, asksFor: needed(peaks, declared, mode, ceiling) };
  }

  /**
   * What the second try asks for when the first one ran out of memory: of the resource that ran out the largest of what is needed
   * by what is known, what the plugin said, and 1.25 times what the failed try had reached. Where nothing was measured and nothing
   * said, 1.25 times what is needed by what is known. A plugin without a GPU is given none by this.
   * @param reached peaks of the failed try, as far as they were measured.
   * @param ceiling as for needOf.
   */
  afterOutOfMemory(
    key: string,
    declared: Requirements,
    reached: MemoryLimit,
    said: OutOfMemory,
    mode: LearnedMemory = "max",
    ceiling: MemoryLimit = {},
  ): Requirements {
    const need = this.needOf(key, declared, mode, ceiling);
    const more = (field: "vramMb" | "ramMb") => {
      const known = Math.max(measured(said.neededMb) ?? 0, enlarged(measured(reached[field]) ?? 0));
      // A try that had not reached anything says no more than one that was not measured.
      const wanted = known === 0 ? enlarged(need[field]) : known;
      return { ...need, [field]: Math.max(need[field], Math.min(wanted, ceiling[field] ?? maxMib)) };
    };
    if (said.resource === "ram") return more("ramMb");
    return need.gpuCount === 0 ? need : more("vramMb");
  }

  /** What was measured, for `takeUp`; least recently used first. */
  memo(): readonly (readonly [key: string, vram: PeaksMemo, ram: PeaksMemo])[] {
    return [...this.#profiles].map(([key, { vram, ram }]) => [key, vram.memo(), ram.memo()] as const);
  }

  /** What an earlier life of the server had measured. */
  takeUp(memo: ReturnType<MemoryProfiles["memo"]>): void {
    for (const [key, vram, ram] of memo) this.#profiles.set(key, { vram: new Peaks(vram), ram: new Peaks(ram) });
  }

  /** The profile, now the most recently used. */
  #used(key: string) {
    const profile = this.#profiles.get(key);
    if (profile === undefined) return undefined;
    this.#profiles.delete(key);
    this.#profiles.set(key, profile);
    return profile;
  }
}

/**
 * Peaks of one resource.
 *
 * The lower bound that failed runs leave (the largest of them) holds until a later successful run shows that it is none: one
 * that was measured and had been granted as much as the bound, or used as much. A plugin that is granted less all the time,
 * because the machine has no more, shows it by {@link profileWindow} successful runs in a row.
 */
class Peaks {
  /** Of the last successful runs that were measured, oldest first. */
  readonly #peaks: Mib[];
  #bound: Mib | undefined;
  #successesSinceBound: number;

  constructor({ peaks, bound, successesSinceBound }: PeaksMemo = { peaks: [], successesSinceBound: 0 }) {
    this.#peaks = peaks.slice(-profileWindow);
    this.#bound = bound;
    this.#successesSinceBound = successesSinceBound;
  }

  memo(): PeaksMemo {
    const memo = { peaks: [...this.#peaks], successesSinceBound: this.#successesSinceBound };
    return this.#bound === undefined ? memo : { ...memo, bound: this.#bound };
  }

  get runs(): number {
    return this.#peaks.length;
  }

  /** 95th percentile by nearest rank, so that one run counts as itself; undefined without a run. */
  get learned(): Mib | undefined {
    const sorted = [...this.#peaks].sort((a, b) => a - b);
    return sorted[Math.ceil((95 * sorted.length) / 100) - 1];
  }

  /** The lower bound, where it says more than what was learned. */
  get atLeast(): Mib | undefined {
    return this.#bound !== undefined && this.#bound > (this.learned ?? 0) ? this.#bound : undefined;
  }

  observe(peak: Mib, failed: boolean, granted: Mib | undefined): void {
    if (failed) {
      this.#bound = Math.max(peak, this.#bound ?? 0);
      this.#successesSinceBound = 0;
      return;
    }
    this.#peaks.push(peak);
    if (this.#peaks.length > profileWindow) this.#peaks.shift();
    if (this.#bound === undefined) return;
    this.#successesSinceBound += 1;
    const enough = Math.max(peak, granted ?? 0) >= this.#bound;
    if (enough || this.#successesSinceBound >= profileWindow) this.#bound = undefined;
  }
}

function needed(
  { vram, ram }: { readonly vram: Peaks; readonly ram: Peaks },
  declared: Requirements,
  mode: LearnedMemory,
  ceiling: MemoryLimit,
): Requirements {
  if (mode === "off") return declared;
  return {
    ...declared,
    // Memory of a GPU cannot be asked for without one, whatever was seen there.
    vramMb: declared.gpuCount === 0 ? declared.vramMb : oneNeed(declared.vramMb, vram, mode, ceiling.vramMb),
    ramMb: oneNeed(declared.ramMb, ram, mode, ceiling.ramMb),
  };
}

function oneNeed(declared: Mib, peaks: Peaks, mode: "max" | "replace", ceiling: Mib | undefined): Mib {
  const learned = peaks.learned ?? 0;
  const known = Math.min(Math.max(learned, peaks.atLeast ?? 0), ceiling ?? maxMib);
  // A measured 0 is true of a run that did not touch the GPU, and no ground to believe that none ever will.
  const mayLower = mode === "replace" && peaks.runs >= runsToLower && learned > 0;
  return mayLower ? known : Math.max(declared, known);
}

/** Whole MiB, never too few; undefined for what is no measurement. */
function measured(mb: Mib | undefined): Mib | undefined {
  if (mb === undefined || !Number.isFinite(mb) || mb < 0) return undefined;
  return Math.min(maxMib, Math.ceil(mb));
}

function enlarged(mb: Mib): Mib {
  return Math.ceil(afterOutOfMemoryFactor * mb);
}
