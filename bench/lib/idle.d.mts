/** Times awake a second, ms of processor a second, MiB. */
export interface Rest {
  readonly awake: number;
  readonly cpu: number;
  readonly rssMib: number;
}

export function startTimes(rounds: number): Promise<{ readonly node: number; readonly sluice: number }>;
export function idleOf(seconds: number): Promise<Rest>;
