import type { Waiting } from "../../src/engine/line-chunk.ts";
import type { Requirements } from "../../src/engine/types.ts";

export interface TestTicket extends Waiting {
  readonly workload: { readonly tenant: string; readonly priority: number; readonly requirements: Requirements };
}

export interface Wish extends Partial<Requirements> {
  readonly seq: number;
  readonly tenant?: string;
  readonly priority?: number;
  readonly cost?: number;
}

/** A ticket that needs one GPU with 1,000 MiB unless something else is said. */
export function waiting({ seq, tenant = "a", priority = 0, cost = 0, ...needs }: Wish): TestTicket {
  const requirements = { gpuCount: 1, vramMb: 1000, ramMb: 0, gpuUuids: [], exclusive: false, ...needs };
  return { seq, cost, workload: { tenant, priority, requirements } };
}

/** GPUs with so much free memory each, and host memory. */
export class TestRoom {
  readonly gpus: number[];
  ramMb: number;

  constructor(gpus: number[], ramMb: number) {
    this.gpus = gpus;
    this.ramMb = ramMb;
  }

  vramMb(gpuCount: number): number {
    return [...this.gpus].sort((a, b) => b - a)[gpuCount - 1] ?? -1;
  }

  fits({ gpuCount, vramMb, ramMb }: Requirements): boolean {
    return (gpuCount === 0 || vramMb <= this.vramMb(gpuCount)) && (ramMb === 0 || ramMb <= this.ramMb);
  }

  take({ gpuCount, vramMb, ramMb }: Requirements): void {
    this.gpus.sort((a, b) => b - a);
    for (let i = 0; i < gpuCount; i++) this.gpus[i] = (this.gpus[i] ?? 0) - vramMb;
    this.ramMb -= ramMb;
  }
}

export function seqs(tickets: Iterable<Waiting>): number[] {
  return [...tickets].map((t) => t.seq);
}
