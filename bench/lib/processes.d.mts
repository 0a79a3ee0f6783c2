export interface Started {
  readonly address: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface Crowd {
  /** How long it took until all had heard of one change, in ms. */
  wake(): Promise<number>;
  stop(): Promise<void>;
}

export function startBare(): Promise<Started>;
export function startSluice(...flags: readonly string[]): Promise<Started>;
