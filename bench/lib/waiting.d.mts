import type { Lease } from "#gen/sluice/v1/types_pb.js";
import type { Crowd, Started } from "./processes.mjs";

export function occupy(server: Started): Promise<Lease>;

export function crowdOf(
  server: Started,
  streams: number,
  alarm: "arrival" | "broadcast",
  times: { readonly settleMs: number; readonly idleMs: number },
): Promise<{ readonly crowd: Crowd; readonly kib: number; readonly mostKib: number; readonly cpu: number }>;

export function wakesOf(crowd: Crowd, rounds: number, pauseMs: number): Promise<readonly number[]>;

export function grantsOf(
  server: Started,
  bare: Started,
  lease: Lease,
  rounds: number,
  warmUp?: number,
): Promise<{ readonly grant: readonly number[]; readonly empty: readonly number[]; readonly lease: Lease }>;
