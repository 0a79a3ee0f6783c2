/** Calls a second, its ratio to the empty call within each turn, and µs of the server's processors for a call; medians. */
export interface Rate {
  readonly rate: number;
  readonly ratio: number;
  readonly us: number;
}

export function measureRates(options: {
  readonly turns: number;
  readonly ms: number;
  readonly connections: number;
  readonly underWay: number;
}): Promise<{ readonly empty: Rate; readonly policy: Rate; readonly durable: Rate; readonly memory: Rate }>;
