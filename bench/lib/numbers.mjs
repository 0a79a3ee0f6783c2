/** The smallest value that the given part of all values is not above. */
export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)];
}

export const median = (values) => percentile(values, 0.5);

/** How long it takes, in ms. */
export async function timed(work) {
  const from = performance.now();
  await work();
  return performance.now() - from;
}
