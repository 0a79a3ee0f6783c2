// Nobody takes all: a tenant may have so many executions at the same time, and as many more as nobody else waits for.
//
//   npm start -- --policy examples/policies/tenant-share.mjs
//   SLUICE_TENANT_SHARE=3 npm start -- --policy examples/policies/tenant-share.mjs
//
// A policy is a class with three methods. It decides, and measures nothing: what fits is in `view`. docs/policies.md has the
// whole interface.

const share = Number(process.env.SLUICE_TENANT_SHARE ?? 2);

export default class TenantShare {
  name = "tenant-share";

  /** Running executions of each name that this policy has let in. */
  #running = new Map();

  constructor() {
    // What is thrown here keeps the server from starting, and is told to whoever starts it.
    if (!Number.isInteger(share) || share < 1) throw new Error("SLUICE_TENANT_SHARE must be a whole number from 1 on");
  }

  /**
   * Called again for every ticket that waits whenever something changes, so the answer may depend on the time and on others.
   * @type {import("sluice/policy").ResourceScheduler["allocate"]}
   */
  allocate(request, view) {
    // The engine's own rules first. A policy that answers "admit" although it does not fit is obeyed, and jobs run out of memory.
    if (!view.fits) return false;
    const { name, tenant } = request.workload;
    const running = this.#running.get(name) ?? 0;
    // Executions are told by name, so this example takes the name of a job for its tenant's: name jobs after their tenant.
    if (running < share || view.waiting <= 1) return true;
    const message = `${tenant} has ${running} ${name} at work, and others wait; more than ${share} start when nobody else does`;
    return { verdict: "wait", message };
  }

  onExecutionStart(name) {
    this.#running.set(name, (this.#running.get(name) ?? 0) + 1);
  }

  onExecutionFinish(name) {
    const left = (this.#running.get(name) ?? 1) - 1;
    if (left > 0) this.#running.set(name, left);
    else this.#running.delete(name);
  }
}
