import type { JobListEntry, ListResult, Numbers } from "./one-node-lists.mjs";

export interface Target {
  readonly target: string;
  readonly passed: boolean;
  readonly detail: string;
}

export interface Cell {
  readonly cell: string;
  readonly easy: Numbers;
  readonly sjf: Numbers;
  readonly ours: readonly Numbers[];
}

export declare function cellsOf(lists: readonly JobListEntry[], runs: readonly (readonly ListResult[])[]): readonly Cell[];
export declare function targetsOf(lists: readonly JobListEntry[], runs: readonly (readonly ListResult[])[]): readonly Target[];
