import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { waitFor } from "../../wait-for.ts";
import { Rig } from "./rig.ts";

// The real nvidia-smi over a library that answers from files. GPULAB names the folder of the lab's own programs, the one with setup.sh.
const programs = process.env.GPULAB ?? "";
const present = programs !== "" && existsSync(join(programs, "setup.sh"));
if (!present) {
  // biome-ignore lint/suspicious/noConsole: a check that is not made must be seen
  console.warn("SKIPPED: the monitor was not tried on the real nvidia-smi; set GPULAB to the lab's folder with setup.sh");
}

const lab = present ? mkdtempSync(join(tmpdir(), "sluice-lab-")) : "";
if (present) execFileSync(join(programs, "setup.sh"), [lab], { stdio: "ignore", env: { ...process.env, GPULAB_DIR: lab } });

afterAll(() => {
  if (lab !== "") rmSync(lab, { recursive: true, force: true });
});

const smi = join(lab, "bin/nvidia-smi");
const table = join(lab, "gpus.tsv");
const healthy = present
  ? readFileSync(table, "utf8").replace(/\t(?:lost|broken|reset|noperm|nomem|hidden)(?=\t|$)/gm, "\tok")
  : "";
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  if (!present) return;
  rmSync(join(lab, "hang"), { force: true });
  setHealth(0, "ok");
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function write(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

function setHealth(index: number, word: string): void {
  const lines = healthy
    .split("\n")
    .map((line) => (line.startsWith(`${index}\t`) ? line.replace(/\tok(?=\t|$)/, `\t${word}`) : line));
  write(table, lines.join("\n"));
}

function rig(): Rig {
  const made = new Rig(smi, { silenceMs: 1500 });
  cleanups.push(() => made.monitor.stop());
  return made;
}

describe.skipIf(!present)("the real nvidia-smi", () => {
  it("is measured, with the processes on each GPU", async () => {
    setHealth(0, "ok");
    const one = rig();
    const first = await one.start();
    expect(first.message).toBe("");
    expect(first.gpus.length).toBeGreaterThan(1);
    for (const gpu of first.gpus) {
      expect(gpu).toMatchObject({ health: "ok", kind: "full" });
      const { totalMb = 0, reservedMb = 0, usedMb = 0, freeMb = 0 } = gpu;
      expect(Math.abs(totalMb - reservedMb - usedMb - freeMb)).toBeLessThanOrEqual(2);
    }
    const uuid = first.gpus[1]?.uuid as string;
    const job = spawn(join(lab, "bin/cuda-job"), ["--mib", "2048", "--seconds", "60"], {
      env: { ...process.env, CUDA_VISIBLE_DEVICES: uuid },
      stdio: "ignore",
    });
    const exit = once(job, "exit");
    cleanups.push(async () => {
      job.kill();
      await exit;
    });
    await waitFor(
      () => one.last.processes?.list.some((process) => process.pid === job.pid && process.usedMb === 2048),
      "the job in the list",
    );
    expect(one.last.gpus[1]).toMatchObject({ uuid, usedMb: 2048, attribution: true });
    job.kill();
    await exit;
    await waitFor(() => one.last.processes?.list.length === 0 && one.last.gpus[1]?.usedMb === 0, "the job's end");
  });

  it("loses a GPU and takes it back, for each way in which one can be sick", async () => {
    const one = rig();
    await one.start();
    const size = one.last.gpus.length;
    const well = Array(size).fill("ok").join(" ");
    for (const [word, health] of [
      ["lost", "lost"],
      ["broken", "lost"],
      ["reset", "lost"],
      ["noperm", "degraded"],
      ["nomem", "degraded"],
    ] as const) {
      setHealth(0, word);
      await one.until(well.replace("ok", health));
      setHealth(0, "ok");
      await one.until(well);
    }
  });

  it("starts without a lost GPU and takes it in later", async () => {
    setHealth(0, "lost");
    const one = rig();
    const first = await one.start();
    expect(first.gpus.map((gpu) => gpu.health).slice(0, 2)).toEqual(["lost", "ok"]);
    setHealth(0, "ok");
    await one.until(first.gpus.map(() => "ok").join(" "));
    await waitFor(() => one.last.gpus[0]?.uuid.startsWith("GPU-"), "its uuid");
  });

  it("hangs, and is measured again when it answers", async () => {
    const one = rig();
    const first = await one.start();
    await waitFor(() => one.samples.length > 3, "rounds");
    write(join(lab, "hang"), "");
    const blind = await one.until(first.gpus.map(() => "unknown").join(" "));
    expect(blind.message).toMatch(/has not delivered a full measurement/);
    expect(one.monitor.children).toBeLessThanOrEqual(2);
    rmSync(join(lab, "hang"));
    await one.until(first.gpus.map(() => "ok").join(" "), 14_000);
  });
});
