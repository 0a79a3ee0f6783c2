import { readFileSync } from "node:fs";
import { createRegistry, type DescMethod, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ExecutorService, file_sluice_v1_executor } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { readScenarios, type Step, scenarioFile } from "./scenario-file.ts";

/** What each kind of step may have besides its first word. */
const words: Readonly<Record<string, readonly string[]>> = {
  call: ["with", "client", "deadline_ms", "expect", "error", "save", "in_background", "until_ms", "for_ms"],
  await: ["expect", "error", "save", "within_ms"],
  open: ["with", "client", "deadline_ms", "as"],
  next: ["expect", "save", "within_ms"],
  until: ["expect", "save", "within_ms", "at_most"],
  ends: ["error", "within_ms"],
  cancel: [],
  drop: [],
  driver: [],
  hold: ["as", "client", "expect", "error", "in_background"],
  told: ["event", "expect", "save", "within_ms"],
  environment: ["hold", "expect"],
  release: [],
  run: ["client", "expect", "error", "in_background"],
  repeat: ["steps"],
  mark: [],
  elapsed: ["expect"],
  check: ["expect"],
};
const operators = ["absent", "present", "at_least", "at_most", "greater_than", "less_than", "not", "contains", "length"];
const doors = ["grpc", "unix", "line", "newer"];

const registry = createRegistry(file_sluice_v1_executor);
const methods = [SchedulerService, ExecutorService, MonitorService].flatMap((service) => service.methods as DescMethod[]);

function allSteps(steps: readonly Step[]): Step[] {
  return steps.flatMap((step) => [step, ...allSteps((step.steps ?? []) as Step[])]);
}

/** References are known only when a scenario is played; anything of the right type stands for them here. */
function withoutReferences(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutReferences(item, key));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([k, inner]) => [k, withoutReferences(inner, k)]));
  if (typeof value !== "string" || !value.startsWith("$")) return value;
  return key === "token" || key === "pid" ? 1 : "reference";
}

function operatorsIn(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    ...(key.startsWith("$") ? [key.slice(1)] : []),
    ...operatorsIn(inner),
  ]);
}

const scenarios = readScenarios();

describe("the scenarios for clients", () => {
  it("are many, and each has a name of its own that is a sentence", () => {
    expect(scenarios.length).toBeGreaterThanOrEqual(25);
    const names = scenarios.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name.split(" ").length, name).toBeGreaterThanOrEqual(5);
  });

  it("are all found by the reader of the file", () => {
    const names = [...readFileSync(scenarioFile, "utf8").matchAll(/^ {2}- name: (.+)$/gm)].map(([, name]) => name);
    expect(scenarios.map(({ name }) => name)).toEqual(names);
  });

  for (const { name, steps, clients = { main: {} } } of scenarios) {
    it(`has known words only, and requests that are messages of the contract: ${name}`, () => {
      const known = new Set<string>(["runner", "doors"]);
      for (const client of Object.values(clients)) expect(doors).toContain(client.door ?? "grpc");
      for (const step of allSteps(steps)) {
        const [word = "", ...more] = Object.keys(step);
        expect(words, JSON.stringify(step)).toHaveProperty(word);
        expect(words[word], JSON.stringify(step)).toEqual(expect.arrayContaining(more));
        if (step.client !== undefined) expect(clients).toHaveProperty([String(step.client)]);
        for (const operator of operatorsIn([step.expect, step.error])) expect(operators).toContain(operator);
        for (const [, reference] of JSON.stringify({ ...step, steps: [] }).matchAll(/"\$(\w+)\.[\w.]+"/g))
          expect([...known]).toContain(reference);
        for (const saved of [step.save, step.as, step.in_background]) if (saved !== undefined) known.add(String(saved));
        if (word !== "call" && word !== "open") continue;
        const method = methods.find((m) => m.name === String(step[word]).split(".").at(-1));
        if (method === undefined) throw new Error(`no method ${step[word]}`);
        expect(method.methodKind).toBe(word === "call" ? "unary" : "server_streaming");
        fromJson(method.input, withoutReferences(step.with ?? {}) as JsonValue, { registry });
      }
    });
  }
});
