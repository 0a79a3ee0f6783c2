import { Ajv, type ErrorObject } from "ajv";
import { invalidArgument } from "../engine/failure.ts";
import { type JsonObject, type JsonValue, jsonProblem } from "./json.ts";

/** Largest arguments of one execution, in bytes of JSON. */
export const maxArgumentBytes = 1_048_576;

/**
 * Checks the arguments of one execution and fills the schema's defaults into them. Throws INVALID_ARGUMENT that names the
 * argument as a path, such as `arguments.audio`.
 */
export type ArgumentCheck = (args: JsonObject) => void;

export type CompiledSchema =
  | { readonly ok: true; readonly check: ArgumentCheck }
  | { readonly ok: false; readonly message: string };

/**
 * Compiles a manifest's JSON Schema (draft-07); undefined lets any object through.
 *
 * Words that draft-07 does not know are ignored, as it asks for, because generators of schemas add their own; "format" is a
 * note for people. References lead nowhere but into the schema itself.
 */
export function compileSchema(schema: JsonObject | undefined): CompiledSchema {
  if (schema === undefined) return { ok: true, check: () => {} };
  // An asynchronous check answers a promise, which is truthy whatever the arguments are.
  if (Object.hasOwn(schema, "$async")) return { ok: false, message: "must not be asynchronous ($async)" };
  // One Ajv for each schema, so that two plugins may use the same $id and a reloaded one its own again.
  const ajv = new Ajv({
    strict: false,
    validateFormats: false,
    ownProperties: true,
    useDefaults: true,
    addUsedSchema: false,
    logger: false,
  });
  try {
    const validate = ajv.compile(schema);
    return {
      ok: true,
      check: (args) => {
        if (!validate(args)) throw invalidArgument(violation(validate.errors ?? []));
      },
    };
  } catch (error) {
    return { ok: false, message: `must be a JSON Schema (draft-07) without references to other documents: ${plain(error)}` };
  }
}

/**
 * A copy of the arguments, so that defaults never reach the caller's own object. Throws INVALID_ARGUMENT when they are too
 * large or too deep.
 */
export function copyArguments(args: JsonObject): JsonObject {
  const problem = jsonProblem(args);
  if (problem !== undefined) throw invalidArgument({ field: "arguments", description: problem });
  const json = JSON.stringify(args);
  const bytes = Buffer.byteLength(json);
  if (bytes > maxArgumentBytes) {
    throw invalidArgument({
      field: "arguments",
      description: `must be at most ${maxArgumentBytes} bytes as JSON, got ${bytes}`,
    });
  }
  return JSON.parse(json) as JsonObject;
}

function violation(errors: readonly ErrorObject[]): { field: string; description: string } {
  // "must match then schema" comes after what is really wrong.
  const error = errors.findLast((e) => e.keyword !== "if") ?? errors[0];
  if (error === undefined) return { field: "arguments", description: "does not match the plugin's arguments_schema" };
  const at = `arguments${pathOf(error.instancePath)}`;
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case "required":
      return { field: short(`${at}.${params.missingProperty}`), description: "is required" };
    case "additionalProperties":
      return { field: short(`${at}.${params.additionalProperty}`), description: "is not an argument of this plugin" };
    case "enum":
      return { field: short(at), description: `must be one of ${short(JSON.stringify(params.allowedValues))}` };
    case "const":
      return { field: short(at), description: `must be ${short(JSON.stringify(params.allowedValue))}` };
    default:
      return { field: short(at), description: short(error.message ?? "does not match the plugin's arguments_schema") };
  }
}

/** `/words/0/text` as `.words[0].text`. */
function pathOf(pointer: string): string {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`))
    .join("");
}

const placeholder = /\{([A-Za-z_][A-Za-z0-9_.-]*)\}/g;

export function hasPlaceholder(text: string): boolean {
  return text.search(placeholder) >= 0;
}

/**
 * The command with every `{placeholder}` replaced by the argument of that name: strings as they are, everything else as
 * JSON. What was put in is not looked at again. Throws INVALID_ARGUMENT that names a placeholder without an argument.
 */
export function fillCommand(command: readonly string[], args: JsonObject): string[] {
  return command.map((part) => part.replace(placeholder, (_whole, name: string) => argumentText(name, args)));
}

function argumentText(name: string, args: JsonObject): string {
  const value: JsonValue | undefined = Object.hasOwn(args, name) ? args[name] : undefined;
  const field = short(`arguments.${name}`);
  if (value === undefined) throw invalidArgument({ field, description: "is required: the plugin's command uses it" });
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (text.includes("\0")) {
    throw invalidArgument({ field, description: "must not contain NUL: it becomes part of a command line" });
  }
  return text;
}

function short(text: string): string {
  return text.length > 200 ? `${text.slice(0, 199)}…` : text;
}

function plain(error: unknown): string {
  return short(error instanceof Error ? error.message : String(error));
}
