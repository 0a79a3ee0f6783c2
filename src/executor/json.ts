/** JSON as it comes from a manifest, a caller or a plugin. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

export interface JsonObject {
  [key: string]: JsonValue;
}

/**
 * Deepest nesting that is let through. A google.protobuf.Value takes three messages for each level and decoders give up at
 * 100, so anything deeper could be sent but not read.
 */
export const maxJsonDepth = 32;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Why a value cannot go over the wire as google.protobuf.Value; undefined when it can. */
export function jsonProblem(value: JsonValue, depth = 0): string | undefined {
  if (typeof value === "number" && !Number.isFinite(value)) return "holds a number that is too large";
  if (typeof value !== "object" || value === null) return undefined;
  if (depth >= maxJsonDepth) return `is nested more than ${maxJsonDepth} levels deep`;
  for (const item of Array.isArray(value) ? value : Object.values(value)) {
    const problem = jsonProblem(item, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The same text for the same value, whatever the order of its keys: map fields keep none on their way. */
export function canonicalJson(value: JsonValue): string {
  return JSON.stringify(value, (_key, item: JsonValue) =>
    isJsonObject(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item,
  );
}
