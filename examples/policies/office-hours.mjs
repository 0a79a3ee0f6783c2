// Keeps room for people while they are at work: from 8 to 18 on weekdays, a job of low priority starts only when another job of
// RESERVE MiB would still find a place afterwards. At night and at the weekend the policy is `queue`.
//
//   npm start -- --policy examples/policies/office-hours.mjs
//   RESERVE_MIB=16000 npm start -- --policy examples/policies/office-hours.mjs
//
//   npx sluice run --vram 16000 --priority -1 -- python3 train.py     waits for the evening, if need be
//   npx sluice run --vram 6000 -- jupyter lab                         starts as soon as it fits
//
// A policy is a class with three methods. It decides and measures nothing: what the server knows is in `view`. docs/policies.md
// has the whole interface.

export default class OfficeHours {
  name = "office-hours";
  #reserveMib = Number(process.env.RESERVE_MIB ?? 8_000);

  constructor() {
    // What is thrown here keeps the server from starting, and is told to whoever starts it.
    if (!(this.#reserveMib >= 0)) throw new Error("RESERVE_MIB must be a number of MiB");
  }

  /**
   * Asked about each request, and again about those that wait whenever something changes, so the answer may depend on the time.
   * @type {import("sluice/policy").ResourceScheduler["allocate"]}
   */
  allocate(request, view) {
    // The server's own rules first: whoever admits what does not fit is obeyed, and jobs run out of memory.
    if (!view.fits) return false;
    if (request.workload.priority >= 0 || !isOfficeHour(view.now)) return true;
    if (this.#roomIsLeft(request.workload.requirements, view)) return true;
    return { verdict: "wait", message: `until 18:00, ${this.#reserveMib} MiB are kept free for jobs of priority 0 and above` };
  }

  // Called when work on a lease that this policy granted begins and ends, for policies that count.
  onExecutionStart() {}
  onExecutionFinish() {}

  /** The job could get any of the GPUs that have room for it, so the room has to be left whichever it gets. */
  #roomIsLeft({ gpuCount, vramMb }, view) {
    // What is not known is not zero: a GPU that is not measured is no room.
    const room = view.gpus.map((gpu) => gpu.availableMb ?? 0).sort((a, b) => b - a);
    for (let i = 0; i < gpuCount; i++) room[i] = (room[i] ?? 0) - vramMb;
    return Math.max(...room, 0) >= this.#reserveMib;
  }
}

function isOfficeHour(now) {
  const at = new Date(now);
  const isWeekday = at.getDay() >= 1 && at.getDay() <= 5;
  return isWeekday && at.getHours() >= 8 && at.getHours() < 18;
}
