import { ErrorCodes, type Message } from "vscode-jsonrpc/node";

/** What a line that is no message is answered with, by the rules of JSON-RPC; undefined: nothing. */
export function refusal(line: Buffer, cut: boolean): (Message & { readonly id: unknown; readonly error: object }) | undefined {
  const answer = (id: unknown, code: number, message: string) => ({ jsonrpc: "2.0", id, error: { code, message } });
  if (cut) return answer(null, ErrorCodes.ParseError, "The line is longer than 4 MiB.");
  if (line.toString("latin1").trim() === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line.toString("utf8"));
  } catch {
    return answer(null, ErrorCodes.ParseError, "The line is not JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return answer(null, ErrorCodes.InvalidRequest, "A message must be one JSON object.");
  }
  // An answer, but this side never asks.
  if (!("method" in value) && ("result" in value || "error" in value)) return undefined;
  const id = "id" in value && (typeof value.id === "string" || typeof value.id === "number") ? value.id : null;
  return answer(id, ErrorCodes.InvalidRequest, "The message is not a JSON-RPC 2.0 request.");
}
