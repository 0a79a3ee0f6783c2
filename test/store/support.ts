import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LeaseMemo, TicketMemo } from "../../src/engine/saves.ts";
import type { Workload } from "../../src/engine/types.ts";
import type { Change } from "../../src/store/store.ts";

export const workload: Workload = {
  name: "whisper – ünïcode 模型",
  tenant: "a",
  priority: 1,
  labels: { team: "speech" },
  requirements: { gpuCount: 1, vramMb: 4096, ramMb: 0, gpuUuids: [], exclusive: false },
};

export function leaseMemo(n: number, more: Partial<LeaseMemo> = {}): LeaseMemo {
  return {
    id: `lease-${n}`,
    token: 1_800_000_000_000_000 + n,
    workload,
    gpus: [{ uuid: "GPU-0", index: 0, vramMb: 4096 }],
    holdings: [{ pool: "GPU-0", gpuUuid: "GPU-0", reservedMb: 4096, baselineMb: 17 }],
    requestId: `request-${n}`,
    policy: "queue",
    grantedAt: 1_795_000_000_000.25,
    ttlMs: 60_000,
    overcommitted: false,
    estimateMs: 30_000,
    share: 0.25,
    chargedFrom: 1_795_000_000_000.25,
    chargedUntil: 1_795_000_030_000.25,
    executions: ["execution-1"],
    processes: ["4711:1234"],
    ...more,
  };
}

export function ticketMemo(n: number): TicketMemo {
  return {
    id: `ticket-${n}`,
    seq: n,
    workload,
    cost: 7,
    requestId: `request-t${n}`,
    policy: "",
    submittedAt: 1_795_000_000_000.5,
    deadline: 1_795_000_300_000.5,
    pollIntervalMs: 2_000,
    ttlMs: 60_000,
    hold: "ttl",
  };
}

export function change(leases: readonly LeaseMemo[] = [], tickets: readonly TicketMemo[] = []): Change {
  return { leases: leases.map((memo) => ({ id: memo.id, memo })), tickets: tickets.map((memo) => ({ id: memo.id, memo })) };
}

/** A folder of its own. `using` removes it. */
export function folder(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), "sluice-state-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
