import type { LogLine } from "../support/server.ts";

/** A lease of a job, out of the server's log. Times are milliseconds since 1970. */
export interface Grant {
  /** Name of the job. */
  readonly name: string;
  readonly askedAt: number;
  readonly at: number;
  /** When the lease ended; Infinity while it has not. */
  readonly endedAt: number;
  /** Uuids of its GPUs. */
  readonly on: readonly string[];
  /** On each of them; MiB. */
  readonly vramMb: number;
}

/** Every grant in the log, in order. */
export function grantsOf(log: readonly LogLine[]): readonly Grant[] {
  const ends = new Map(log.filter((line) => line.decision === "end").map((line) => [line.lease, Number(line.at)]));
  return log
    .filter((line) => line.decision === "grant")
    .map((line) => ({
      name: String(line.name),
      askedAt: Number(line.at) - Number(line.waitedMs),
      at: Number(line.at),
      endedAt: ends.get(line.lease) ?? Number.POSITIVE_INFINITY,
      on: line.on as readonly string[],
      vramMb: Number(line.vramMb),
    }));
}

/** What is leased on a GPU right after a moment; MiB. */
export function leasedOn(grants: readonly Grant[], uuid: string, at: number): number {
  return grants.filter((g) => g.on.includes(uuid) && g.at <= at && at < g.endedAt).reduce((sum, g) => sum + g.vramMb, 0);
}
