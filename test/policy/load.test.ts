import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Failure } from "../../src/engine/failure.ts";
import { builtInPolicies, loadPolicy } from "../../src/policy/load.ts";
import type { AllocationRequest, AllocationView } from "../../src/policy/resource-scheduler.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-policies-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, code: string): string {
  const file = join(folder, name);
  writeFileSync(file, code);
  return file;
}

/** A policy whose methods are these. */
const policy = (allocate: string, more = "") =>
  `export default class { allocate(request, view) { ${allocate} } onExecutionStart() {} onExecutionFinish() {} ${more} }`;

const request: AllocationRequest = {
  workload: {
    name: "job",
    tenant: "default",
    priority: 0,
    labels: {},
    requirements: { gpuCount: 1, vramMb: 1_000, ramMb: 0, gpuUuids: [], exclusive: false },
  },
  mayWait: true,
  waitedMs: 0,
};
const view: AllocationView = {
  now: 0,
  fits: true,
  reasons: [],
  gpus: [],
  host: {},
  waiting: 0,
  executions: new Map(),
};

async function load(file: string) {
  const faults: { policy: string; error: unknown }[] = [];
  const loaded = await loadPolicy(file, (name, error) => faults.push({ policy: name, error }));
  return { loaded, faults };
}

async function refused(file: string): Promise<Failure> {
  try {
    await load(file);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("it was loaded");
}

describe("a module that is wrong is refused in plain words, for field policy", () => {
  it.each([
    ["no-class.mjs", "export default 5", "must have a class as its default export"],
    ["no-default.mjs", "export class Policy {}", "must have a class as its default export"],
    ["throws.mjs", "export default class { constructor() { throw new Error('no licence') } }", "could not be made: no licence"],
    ["arrow.mjs", "export default () => true", "could not be made: "],
    ["syntax.mjs", "export default class {", "could not be loaded: "],
    ["top.mjs", "throw new Error('first line\\nsecond line')", "could not be loaded: first line"],
    ["import.mjs", "import 'no-such-package-anywhere'", "could not be loaded: Cannot find package"],
    ["no-allocate.mjs", "export default class { onExecutionStart() {} onExecutionFinish() {} }", "has no method allocate"],
    ["no-start.mjs", "export default class { allocate() {} onExecutionFinish() {} }", "has no method onExecutionStart"],
    ["no-finish.mjs", "export default class { allocate() {} onExecutionStart() {} }", "has no method onExecutionFinish"],
    [
      "named-badly.mjs",
      policy("return true", "name = 'a b'"),
      "its name must be 1 to 64 letters, digits, '.', '_' or '-', got \"a b\"",
    ],
    ["named-long.mjs", policy("return true", "name = 'x'.repeat(65)"), "its name must be 1 to 64"],
    ["named-built-in.mjs", policy("return true", "name = 'queue'"), "its name queue is the name of a built-in policy"],
    ["safety.mjs", policy("return true"), "its name safety is the name of a built-in policy"],
  ])("%s", async (name, code, why) => {
    const file = write(name, code);
    const failure = await refused(file);
    expect(failure.reason).toBe("INVALID_ARGUMENT");
    expect(failure.violations).toHaveLength(1);
    expect(failure.violations[0]).toMatchObject({ field: "policy", description: expect.stringContaining(`${file}: `) });
    expect(failure.violations[0]?.description).toContain(why);
    expect(failure.message).not.toContain("second line");
  });

  it("a file that is not there", async () => {
    expect((await refused(join(folder, "missing.mjs"))).message).toContain("could not be loaded");
  });
});

describe("its name", () => {
  it("is its own", async () => {
    expect((await load(write("one.mjs", policy("return true", "name = 'My.policy_2-x'")))).loaded.name).toBe("My.policy_2-x");
  });

  it.each([
    ["night-shift.mjs", ""],
    ["empty-name.mjs", "name = ''"],
    ["number-name.mjs", "name = 5"],
  ])("is the file's without its ending when it has none: %s", async (file, name) => {
    expect((await load(write(file, policy("return true", name)))).loaded.name).toBe(file.replace(".mjs", ""));
  });

  it("a CommonJS module that was compiled from a default export is found too", async () => {
    const code = `exports.default = ${policy("return true").replace("export default ", "")}`;
    expect((await load(write("compiled.cjs", code))).loaded.allocate(request, view)).toEqual({ verdict: "admit" });
  });
});

describe("its answer", () => {
  it.each([
    ["return true", { verdict: "admit" }],
    ["return false", { verdict: "wait" }],
    ["return { verdict: 'refuse' }", { verdict: "refuse" }],
    ["return { verdict: 'wait', message: 'at night' }", { verdict: "wait", message: "at night" }],
    ["return { verdict: 'wait', message: 5 }", { verdict: "wait" }],
    ["return { verdict: view.fits ? 'admit' : 'wait', extra: 1 }", { verdict: "admit" }],
  ])("%s is understood", async (code, answer) => {
    const { loaded, faults } = await load(write(`good-${code.length}.mjs`, policy(code)));
    expect(loaded.allocate(request, view)).toEqual(answer);
    expect(faults).toEqual([]);
  });

  it("has its message cut to 512 characters", async () => {
    const { loaded } = await load(write("long.mjs", policy("return { verdict: 'wait', message: 'x'.repeat(10000) }")));
    expect(loaded.allocate(request, view)).toMatchObject({ message: "x".repeat(512) });
  });

  it.each([
    ["throw new Error('division by zero')", "division by zero"],
    ["throw undefined", "undefined"],
    ["return undefined", "allocate answered undefined"],
    ["return null", "allocate answered null"],
    ["return 1", "allocate answered 1"],
    ["return 'admit'", 'allocate answered "admit"'],
    ["return { verdict: 'yes' }", 'allocate answered {"verdict":"yes"}'],
    ["return { verdict: true }", 'allocate answered {"verdict":true}'],
    ["return Promise.resolve(true)", "a promise, which is not waited for"],
    ["return Promise.reject(new Error('late'))", "a promise, which is not waited for"],
    ["return { get verdict() { throw new Error('trap') } }", "trap"],
    ["const a = {}; a.a = a; return a", "circular"],
    ["return 10n", "BigInt"],
  ])("%s admits nothing, and the operator hears of it", async (code, what) => {
    const name = `bad-${code.replace(/[^a-z0-9]+/gi, "-").slice(0, 50)}`;
    const { loaded, faults } = await load(write(`${name}.mjs`, policy(code, `name = "${name}"`)));
    expect(loaded.allocate(request, view)).toEqual({
      verdict: "wait",
      message: `policy ${name} failed, so nothing is admitted by it; the server's log says why`,
    });
    expect(faults).toHaveLength(1);
    expect(faults[0]?.policy).toBe(name);
    expect(String(faults[0]?.error)).toContain(what);
  });

  it("a fault in one call does not change the next", async () => {
    const { loaded } = await load(write("once.mjs", policy("if (view.waiting > 0) throw new Error('x'); return true")));
    expect(loaded.allocate(request, { ...view, waiting: 1 })).toMatchObject({ verdict: "wait" });
    expect(loaded.allocate(request, view)).toEqual({ verdict: "admit" });
  });
});

it("faults of what it is told about executions are heard of and stop nothing", async () => {
  const code =
    "export default class { allocate() { return true } onExecutionStart(n) { throw new Error('start ' + n) } onExecutionFinish(n) { throw new Error('finish ' + n) } }";
  const { loaded, faults } = await load(write("told.mjs", code));
  loaded.onExecutionStart("a");
  loaded.onExecutionFinish("a");
  expect(faults.map((f) => String(f.error))).toEqual(["Error: start a", "Error: finish a"]);
});

it("its methods see the instance, so that it can count", async () => {
  const code =
    "export default class { #n = 0; allocate() { return { verdict: 'wait', message: this.#n + ' at work' } } onExecutionStart() { this.#n++ } onExecutionFinish() { this.#n-- } }";
  const { loaded } = await load(write("counts.mjs", code));
  loaded.onExecutionStart("a");
  loaded.onExecutionStart("b");
  loaded.onExecutionFinish("a");
  expect(loaded.allocate(request, view)).toEqual({ verdict: "wait", message: "1 at work" });
});

describe("the built-in ones", () => {
  const answers = (name: string) =>
    [true, false].map((fits) => {
      const answer = builtInPolicies()
        .get(name)
        ?.allocate(request, { ...view, fits });
      return typeof answer === "boolean" ? (answer ? "admit" : "wait") : answer?.verdict;
    });

  it("are permissive, safety and queue, made afresh each time", () => {
    expect([...builtInPolicies().keys()]).toEqual(["permissive", "safety", "queue"]);
    expect(builtInPolicies().get("queue")).not.toBe(builtInPolicies().get("queue"));
  });

  it("permissive admits what fits and what does not, and does not even look", () => {
    const blind = {
      ...view,
      get fits(): boolean {
        throw new Error("it looked");
      },
    };
    expect(builtInPolicies().get("permissive")?.allocate(request, blind)).toBe(true);
    expect(answers("permissive")).toEqual(["admit", "admit"]);
  });

  it("safety refuses what does not fit", () => expect(answers("safety")).toEqual(["admit", "refuse"]));
  it("queue lets it wait", () => expect(answers("queue")).toEqual(["admit", "wait"]));
});
