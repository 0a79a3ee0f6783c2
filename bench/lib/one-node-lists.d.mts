import type { machineFor } from "../../src/cli/replay-machine.ts";
import type { ReplayOptions } from "../../src/replay/job.ts";
import type { readWork } from "../../src/replay/read-work.ts";
import type { replay } from "../../src/replay/world.ts";

/** What replays: the built engine, or the sources under test. */
export interface ReplayingEngine {
  readonly readWork: typeof readWork;
  readonly machineFor: typeof machineFor;
  readonly replay: typeof replay;
}

/** Waits in seconds; makespan as a multiple of its lower bound. */
export interface Numbers {
  readonly waitMean: number;
  readonly waitMax: number;
  readonly makespan: number;
}

export interface JobListEntry {
  readonly file: string;
  readonly cell: string;
  readonly jobs: number;
  readonly makespanBound: number;
  readonly machine: { readonly gpus: number; readonly vram: number; readonly ram: number };
  readonly easy: Numbers;
  readonly sjf: Numbers;
}

export interface ListResult extends Numbers {
  readonly jobs: number;
  readonly done: number;
  readonly oom: number;
  readonly decisionsPerS: number;
}

export type Way = Pick<ReplayOptions, "discipline" | "durations"> & { readonly name: string };

export declare const ways: readonly Way[];
export declare function readLists(folder: string): readonly JobListEntry[];
export declare function replayList(engine: ReplayingEngine, folder: string, list: JobListEntry, way: Way): ListResult;
