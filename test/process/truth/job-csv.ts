import type { ListedJob } from "./job-list.ts";

/** A job with what a replay has to know besides. */
export interface ReplayedJob {
  readonly job: ListedJob;
  /** From the start of the list. */
  readonly arriveS: number;
  /** How long it runs. The replay's jobs declare exactly that. */
  readonly durationS: number;
}

/** The list as `sluice replay` reads it. */
export function jobCsv(list: readonly ReplayedJob[]): string {
  const rows = list.map(({ job, arriveS, durationS }) =>
    [job.id, arriveS.toFixed(3), durationS.toFixed(3), job.gpus, job.vramMb, 0].join(","),
  );
  return `id,arrive_s,duration_s,gpus,vram_mib_per_gpu,host_ram_mib\n${rows.join("\n")}\n`;
}
