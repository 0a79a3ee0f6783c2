// What many schedulers do, and what this server exists to do better. DO NOT USE IT: it is here to be compared with.
//
//   npm start -- --policy examples/policies/check-then-act.mjs
//
// It looks at how much memory is free, summed over the GPUs, and starts the job when that is enough. Two things are wrong:
// - The sum over GPUs is not a place: 3,000 MiB on each of two GPUs is no room for 4,096 MiB.
// - What was promised a moment ago is not used yet, so it still looks free: jobs that come at the same time are all told yes.
// test/process/run-jobs.test.ts runs the same jobs under this policy and under `queue`, and counts those that run out of memory.

export default class CheckThenAct {
  name = "check-then-act";

  /** @type {import("sluice/policy").ResourceScheduler["allocate"]} */
  allocate(request, view) {
    const { gpuCount, vramMb } = request.workload.requirements;
    const free = view.gpus.reduce((sum, gpu) => sum + (gpu.freeMb ?? 0), 0);
    return free >= gpuCount * vramMb;
  }

  onExecutionStart() {}
  onExecutionFinish() {}
}
