import type { Requirements } from "../engine/types.ts";
import type { Admission } from "./admission.ts";
import type { PluginManifest } from "./manifest.ts";
import { type LearnedMemory, type MemoryLimit, type MemoryProfiles, type OutOfMemory, profileKey } from "./memory-profile.ts";

export interface NeedSite {
  readonly admission: Admission;
  readonly profiles: MemoryProfiles;
  readonly learnedMemory: LearnedMemory;
}

/** What the next start of one plugin's worker asks for. */
export class StartNeed {
  readonly #site: NeedSite;
  #raised: Requirements | undefined;

  constructor(site: NeedSite) {
    this.#site = site;
  }

  /** True after it ran out of memory, until a run has succeeded or the larger need was refused. */
  get isRaised(): boolean {
    return this.#raised !== undefined;
  }

  /** What is known from measurements, or more after it ran out of memory. */
  of(manifest: PluginManifest): Requirements {
    const { profiles, learnedMemory, admission } = this.#site;
    return this.#raised ?? profiles.needOf(profileKey(manifest), manifest.requirements, learnedMemory, admission.ceiling());
  }

  /** @param reached what it had when it ran out. */
  ranOut(manifest: PluginManifest, reached: MemoryLimit, ran: OutOfMemory): void {
    const { profiles, learnedMemory, admission } = this.#site;
    const key = profileKey(manifest);
    const ceiling = admission.ceiling();
    this.#raised = profiles.afterOutOfMemory(key, manifest.requirements, reached, ran, learnedMemory, ceiling);
  }

  clear(): void {
    this.#raised = undefined;
  }
}
