import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { waitFor } from "../../wait-for.ts";
import { FakeNvidiaSmi, type FakeState, gpuUuid, twoGpus } from "./fake.ts";

// What other tests rely on: that the pretended machine behaves like a real one.

const fakes: FakeNvidiaSmi[] = [];
const jobs: { kill(signal: NodeJS.Signals): boolean }[] = [];
afterEach(() => {
  for (const job of jobs.splice(0)) job.kill("SIGKILL");
  for (const fake of fakes.splice(0)) fake.dispose();
});

function machine(state: FakeState = twoGpus()): FakeNvidiaSmi {
  const fake = new FakeNvidiaSmi(state);
  fakes.push(fake);
  return fake;
}

function smi(fake: FakeNvidiaSmi, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(fake.path, args, { env: { TZ: "UTC" } }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr });
    });
  });
}

function job(fake: FakeNvidiaSmi, gpu: string | undefined, ...args: string[]) {
  const env: NodeJS.ProcessEnv = gpu === undefined ? {} : { CUDA_VISIBLE_DEVICES: gpu };
  const child = spawn(fake.jobPath, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  jobs.push(child);
  return {
    child,
    exit: once(child, "exit"),
    stderr: () => stderr,
    ready: () => fake.jobsLog().some((line) => line.pid === child.pid && line.event === "ready"),
  };
}

const memory = ["--query-gpu=memory.used,memory.free", "--format=csv,noheader,nounits"];

describe("the fake nvidia-smi", () => {
  it("prints columns in the order asked for, with header and units unless told otherwise", async () => {
    const fake = machine({ gpus: [{ uuid: gpuUuid(0), name: "A, B", usedMb: 5 }] });
    expect((await smi(fake, "--query-gpu=name,memory.used,index", "--format=csv")).stdout).toBe(
      "name, memory.used [MiB], index\nA? B, 5 MiB, 0\n",
    );
    expect((await smi(fake, "--query-gpu=index,memory.free", "--format=csv,noheader,nounits")).stdout).toBe("0, 24213\n");
  });

  it("fails with the real exit codes, and says everything on stdout", async () => {
    const fake = machine();
    expect(await smi(fake, "--query-gpu=index,bogus", "--format=csv")).toEqual({
      code: 2,
      stdout: 'Field "bogus" is not a valid field to query.\n\n',
      stderr: "",
    });
    expect((await smi(fake, "--query-gpu=index", "--format=csv", "-lms", "0")).code).toBe(2);
    expect((await smi(fake, "--query-gpu=index", "--format=csv", "-i", "9")).code).toBe(6);
    expect((await smi(fake, "--bogus")).code).toBe(255);
    fake.set({ ...twoGpus(), fail: 9 });
    expect((await smi(fake, "-L")).code).toBe(9);
    fake.set({ gpus: [] });
    expect(await smi(fake, "-L")).toMatchObject({ code: 0, stdout: "No devices found.\n" });
  });

  it("lets one lost GPU spoil the answer for all, unless others are named by index", async () => {
    const fake = machine({ gpus: [{ uuid: gpuUuid(0) }, { uuid: gpuUuid(1), health: "lost" }] });
    expect(await smi(fake, ...memory)).toMatchObject({
      code: 15,
      stdout: expect.stringContaining("GPU0000:02:00.0: GPU is lost"),
    });
    expect(await smi(fake, ...memory, "-i", "0")).toMatchObject({ code: 0, stdout: "0, 24218\n" });
    expect(await smi(fake, ...memory, "-i", gpuUuid(0))).toMatchObject({ code: 255 });
    expect(await smi(fake, "-L")).toMatchObject({ code: 15, stdout: expect.stringMatching(/^GPU 0: .*\nUnable to determine/) });
  });
});

describe("the fake job", () => {
  it("holds memory on its GPU while it runs, is listed, and gives all back at its end", async () => {
    const fake = machine();
    const { child, exit, ready } = job(fake, gpuUuid(1), "--mib", "1000", "--seconds", "30");
    await waitFor(ready, "the job's memory");
    expect((await smi(fake, ...memory)).stdout).toBe("0, 24218\n1000, 23218\n");
    expect((await smi(fake, "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits")).stdout).toBe(
      `${gpuUuid(1)}, ${child.pid}, 1000\n`,
    );
    child.kill("SIGTERM");
    expect(await exit).toEqual([null, "SIGTERM"]);
    expect((await smi(fake, ...memory)).stdout).toBe("0, 24218\n0, 24218\n");
  });

  it("gives memory back late when told so, also after SIGKILL, and is no longer listed at once", async () => {
    const fake = machine({ ...twoGpus(), releaseLagMs: 700 });
    const { child, exit, ready } = job(fake, "0", "--mib", "1000", "--seconds", "30");
    await waitFor(ready, "the job's memory");
    child.kill("SIGKILL");
    await exit;
    expect((await smi(fake, ...memory)).stdout).toBe("1000, 23218\n0, 24218\n");
    expect((await smi(fake, "--query-compute-apps=pid", "--format=csv,noheader")).stdout).toBe("");
    await waitFor(async () => (await smi(fake, ...memory)).stdout === "0, 24218\n0, 24218\n", "the memory", 5000);
  });

  it("dies of CUDA out of memory when a step does not fit, and never gets more than there is", async () => {
    const fake = machine({ gpus: [{ uuid: gpuUuid(0), totalMb: 1346, usedMb: 100 }] });
    const both = [1, 2].map(() => job(fake, gpuUuid(0), "--mib", "600", "--seconds", "2", "--ramp-seconds", "0.5"));
    const exits = await Promise.all(both.map(({ exit }) => exit));
    expect(exits.map(([code]) => code).sort()).toEqual([0, 77]);
    expect(both.map(({ stderr }) => stderr()).join("")).toContain("CUDA out of memory");
    expect(fake.oomLog()).toHaveLength(1);
    expect(fake.oomLog()[0]).toMatchObject({ gpu: gpuUuid(0), wantedMb: expect.any(Number) });
  });

  it("finds no GPU behind a wrong or empty CUDA_VISIBLE_DEVICES", async () => {
    const fake = machine();
    for (const wrong of ["", "GPU-00000000", "7"]) expect(await job(fake, wrong, "--mib", "1").exit).toEqual([78, null]);
    expect(await job(fake, undefined, "--mib", "1", "--seconds", "0").exit).toEqual([0, null]);
  });
});
