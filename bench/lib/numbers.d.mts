/** The smallest value that the given part of all values is not above. */
export function percentile(values: readonly number[], p: number): number;
export function median(values: readonly number[]): number;
