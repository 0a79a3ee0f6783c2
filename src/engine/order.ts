import type { TicketRecord } from "./state.ts";

/** The order of service: priority, then arrival. Negative: `a` comes first. */
export function compareOrder(a: Ranked, b: Ranked): number {
  return b.workload.priority - a.workload.priority || a.seq - b.seq;
}

export type Ranked = Pick<TicketRecord, "seq"> & { readonly workload: { readonly priority: number } };

/** Where a ticket belongs in the sorted queue; for one that is in it, where it is. */
export function rankOf(queue: readonly TicketRecord[], ticket: Ranked): number {
  let low = 0;
  let high = queue.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareOrder(queue[middle] as TicketRecord, ticket) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
