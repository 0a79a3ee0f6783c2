import type { EngineEvent, Outcome } from "../../src/engine/events.ts";
import type { Discipline, EngineSettings } from "../../src/engine/settings.ts";
import type { createState, EngineState } from "../../src/engine/state.ts";
import type { builtInPolicies } from "../../src/policy/load.ts";
import type { VirtualMachine } from "../../src/replay/virtual-machine.ts";

/** What the load drives: the built engine, or the sources under test. */
export interface LoadedEngine {
  readonly defaultSettings: EngineSettings;
  readonly createState: typeof createState;
  readonly builtInPolicies: typeof builtInPolicies;
  readonly VirtualMachine: typeof VirtualMachine;
  readonly step: (state: EngineState, event: EngineEvent, now: number) => Outcome;
}

export interface LoadOptions {
  /** Tickets that wait, all the time. */
  readonly waiting: number;
  /** 8 when absent. */
  readonly gpus?: number;
  /** 1 when absent. */
  readonly tenants?: number;
  /** `few` when absent. */
  readonly sizes?: "few" | "distinct";
  /** `backfill` when absent. */
  readonly discipline?: Discipline;
  /** True when absent: owners say how long their work runs. */
  readonly durations?: boolean;
  readonly seed?: number;
}

export declare class EngineLoad {
  readonly state: EngineState;
  readonly spent: ReadonlyMap<string, { readonly count: number; readonly ms: number }>;
  readonly finished: number;
  readonly usPerEvent: number;
  constructor(engine: LoadedEngine, options: LoadOptions);
  round(): void;
  rounds(count: number): void;
  reset(): void;
}

/** Numbers from 0 up to 1, the same for the same seed. */
export declare function randomFrom(seed: number): () => number;
