import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startSluice } from "../support/server.ts";
import { jobCsv, type ReplayedJob } from "./job-csv.ts";

/** What `sluice replay` says about a list, as far as it is compared here. */
export interface Prediction {
  readonly done: number;
  readonly oom: number;
  readonly makespan_s: number;
  readonly util_pct: number;
}

/**
 * Asks `sluice replay` about a list on a machine of equal GPUs.
 * @param capacityMb what can be promised of each GPU.
 */
export async function predict(list: readonly ReplayedJob[], gpus: number, capacityMb: number): Promise<Prediction> {
  const dir = mkdtempSync(join(tmpdir(), "sluice-truth-"));
  try {
    const file = join(dir, "jobs.csv");
    writeFileSync(file, jobCsv(list));
    const replay = startSluice(["replay", file, "--gpus", `${gpus}`, "--vram", `${capacityMb}`, "--ram", "65536", "--json"]);
    const end = await replay.end;
    if (end !== 0) throw new Error(`the replay ended with ${end}: ${replay.err()}`);
    return JSON.parse(replay.out()) as Prediction;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
