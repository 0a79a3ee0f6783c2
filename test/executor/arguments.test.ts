import { expect, it } from "vitest";
import { Failure } from "../../src/engine/failure.ts";
import { compileSchema, copyArguments, fillCommand } from "../../src/executor/arguments.ts";
import type { JsonObject } from "../../src/executor/json.ts";

/** Fields that are named as wrong. */
function wrong(step: () => unknown): string {
  try {
    step();
    return "";
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return error.violations.map((v) => `${v.field}: ${v.description}`).join("; ");
  }
}

function checked(schema: JsonObject, args: JsonObject): string {
  const compiled = compileSchema(schema);
  if (!compiled.ok) throw new Error(compiled.message);
  return wrong(() => compiled.check(args));
}

const schema: JsonObject = {
  type: "object",
  properties: {
    audio: { type: "string" },
    words: { type: "array", items: { type: "object", properties: { text: { type: "string" } } } },
    size: { enum: ["small", "large"] },
    beams: { type: "integer", default: 5 },
  },
  required: ["audio"],
  additionalProperties: false,
};

it("names the argument that does not match the schema, as a path", () => {
  expect(checked(schema, { audio: "a" })).toBe("");
  expect(checked(schema, {})).toBe("arguments.audio: is required");
  expect(checked(schema, { audio: 3 })).toBe("arguments.audio: must be string");
  expect(checked(schema, { audio: "a", words: [{}, { text: 1 }] })).toBe("arguments.words[1].text: must be string");
  expect(checked(schema, { audio: "a", sise: "small" })).toBe("arguments.sise: is not an argument of this plugin");
  expect(checked(schema, { audio: "a", size: "huge" })).toBe('arguments.size: must be one of ["small","large"]');
});

it("does not take what every object inherits for a given argument", () => {
  expect(checked({ required: ["constructor"] }, {})).toBe("arguments.constructor: is required");
});

it("does not put a huge name into an error", () => {
  expect(checked(schema, { audio: "a", ["x".repeat(100_000)]: 1 }).length).toBeLessThan(300);
});

it("fills in defaults without touching the caller's object", () => {
  const given = { audio: "a" };
  const copy = copyArguments(given);
  const compiled = compileSchema(schema);
  if (compiled.ok) compiled.check(copy);
  expect(copy).toEqual({ audio: "a", beams: 5 });
  expect(given).toEqual({ audio: "a" });
});

it("lets two schemas have the same $id, and one be compiled again", () => {
  const named = { $id: "https://example.org/args", type: "object" };
  expect([compileSchema(named).ok, compileSchema(named).ok]).toEqual([true, true]);
});

it("refuses arguments that are too large, too deep or no numbers", () => {
  expect(wrong(() => copyArguments({ a: "x".repeat(1_048_576) }))).toMatch(/^arguments: must be at most 1048576 bytes/);
  let deep: JsonObject = {};
  for (let i = 0; i < 50_000; i += 1) deep = { a: deep };
  expect(wrong(() => copyArguments(deep))).toBe("arguments: is nested more than 32 levels deep");
  expect(wrong(() => copyArguments({ a: Number.POSITIVE_INFINITY }))).toBe("arguments: holds a number that is too large");
});

it("puts arguments into the command without a shell and without looking at them again", () => {
  const args = { audio: "a b; rm -rf / $(x) {size}", size: 3, opts: { k: [1] }, cash: "$&$1" };
  expect(fillCommand(["run", "--in={audio}", "{size}{size}", "{opts}", "{cash}", "{ no }", "{}"], args)).toEqual([
    "run",
    "--in=a b; rm -rf / $(x) {size}",
    "33",
    '{"k":[1]}',
    "$&$1",
    "{ no }",
    "{}",
  ]);
});

it("names a placeholder without an argument, and an argument that no command line can hold", () => {
  expect(wrong(() => fillCommand(["x", "{audio}"], {}))).toBe("arguments.audio: is required: the plugin's command uses it");
  expect(wrong(() => fillCommand(["x", "{constructor}"], {}))).toMatch(/^arguments.constructor: is required/);
  expect(wrong(() => fillCommand(["x", "{audio}"], { audio: "a\0b" }))).toMatch(/^arguments.audio: must not contain NUL/);
});
