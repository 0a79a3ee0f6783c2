import { basename, extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { invalidArgument } from "../engine/failure.ts";
import { PermissiveScheduler } from "./permissive.ts";
import { QueueScheduler } from "./queue.ts";
import type { AllocationDecision, AllocationRequest, AllocationView, ResourceScheduler } from "./resource-scheduler.ts";
import { SafetyScheduler } from "./safety.ts";

/** The policies that are always there, by name. */
export function builtInPolicies(): Map<string, ResourceScheduler> {
  return new Map([new PermissiveScheduler(), new SafetyScheduler(), new QueueScheduler()].map((p) => [p.name, p]));
}

/** Told of a policy that broke its contract. */
export type PolicyFault = (policy: string, error: unknown) => void;

/**
 * Loads a policy of the operator's own: a module whose default export is a class with the ResourceScheduler interface. Its name
 * is the instance's `name`, else the file's.
 * @throws Failure INVALID_ARGUMENT for field `policy`, saying what is wrong with the module.
 */
export async function loadPolicy(path: string, onFault: PolicyFault): Promise<ResourceScheduler> {
  const file = resolve(path);
  const exported = await importModule(file, path);
  if (typeof exported !== "function") {
    throw wrong(path, "must have a class as its default export (export default class { allocate(request, view) { … } … })");
  }
  let policy: Partial<ResourceScheduler>;
  try {
    policy = new (exported as new () => Partial<ResourceScheduler>)();
  } catch (error) {
    throw wrong(path, `its class could not be made: ${messageOf(error)}`);
  }
  for (const method of ["allocate", "onExecutionStart", "onExecutionFinish"] as const) {
    if (typeof policy[method] !== "function") throw wrong(path, `its class has no method ${method}`);
  }
  const name = typeof policy.name === "string" && policy.name !== "" ? policy.name : basename(file, extname(file));
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw wrong(path, `its name must be 1 to 64 letters, digits, '.', '_' or '-', got ${JSON.stringify(name.slice(0, 64))}`);
  }
  if (builtInPolicies().has(name)) throw wrong(path, `its name ${name} is the name of a built-in policy; choose another`);
  return new GuardedPolicy(name, policy as ResourceScheduler, onFault);
}

async function importModule(file: string, path: string): Promise<unknown> {
  try {
    const module = (await import(pathToFileURL(file).href)) as { default?: unknown };
    // A CommonJS module that was compiled from a default export has it one level down.
    const exported = module.default;
    return typeof exported === "object" && exported !== null && "default" in exported ? exported.default : exported;
  } catch (error) {
    throw wrong(path, `could not be loaded: ${messageOf(error)}`);
  }
}

function wrong(path: string, why: string) {
  return invalidArgument({ field: "policy", description: `${path}: ${why}` });
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}

/**
 * Stands between the engine and somebody else's code: whatever that throws or answers, the engine goes on, nothing is admitted
 * because of it, and the operator hears of it.
 */
class GuardedPolicy implements ResourceScheduler {
  readonly name: string;
  readonly waitsForFit: boolean;
  readonly #policy: ResourceScheduler;
  readonly #onFault: PolicyFault;

  constructor(name: string, policy: ResourceScheduler, onFault: PolicyFault) {
    this.name = name;
    this.waitsForFit = policy.waitsForFit === true;
    this.#policy = policy;
    this.#onFault = onFault;
  }

  allocate(request: AllocationRequest, view: AllocationView): AllocationDecision {
    try {
      return this.#checked(this.#policy.allocate(request, view));
    } catch (error) {
      return this.#fault(error);
    }
  }

  #checked(answer: unknown): AllocationDecision {
    if (typeof answer === "boolean") return { verdict: answer ? "admit" : "wait" };
    if (typeof answer === "object" && answer !== null && "verdict" in answer) {
      const { verdict } = answer;
      const message = "message" in answer && typeof answer.message === "string" ? answer.message.slice(0, 512) : "";
      if (verdict === "admit" || verdict === "wait" || verdict === "refuse")
        return message === "" ? { verdict } : { verdict, message };
    }
    const what = answer instanceof Promise ? "a promise, which is not waited for" : JSON.stringify(answer)?.slice(0, 64);
    if (answer instanceof Promise) answer.catch(() => {});
    return this.#fault(
      new Error(`allocate answered ${what}; it must answer true, false or { verdict: "admit" | "wait" | "refuse" }`),
    );
  }

  #fault(error: unknown): AllocationDecision {
    this.#onFault(this.name, error);
    return { verdict: "wait", message: `policy ${this.name} failed, so nothing is admitted by it; the server's log says why` };
  }

  onExecutionStart(name: string): void {
    try {
      this.#policy.onExecutionStart(name);
    } catch (error) {
      this.#onFault(this.name, error);
    }
  }

  onExecutionFinish(name: string): void {
    try {
      this.#policy.onExecutionFinish(name);
    } catch (error) {
      this.#onFault(this.name, error);
    }
  }
}
