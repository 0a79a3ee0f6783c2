import { ErrorCodes, Message, type ResponseMessage } from "vscode-jsonrpc/node";

/**
 * The JSON-RPC 2.0 message that a line holds; undefined when it holds none. One is a request, a notification or a response: an
 * object with `jsonrpc: "2.0"` and either a method or an id with a result or an error.
 *
 * A response whose error has no code or no message gets them: the library would fill in -32001, which means "out of memory" here.
 */
export function messageOf(line: Buffer): Message | undefined {
  // Most log lines are told apart by this alone.
  if (!line.includes("{")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line.toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || (value as Partial<Message>).jsonrpc !== "2.0") return undefined;
  const message = value as Message;
  if (Message.isRequest(message) || Message.isNotification(message)) {
    const params: unknown = message.params;
    return params === undefined || (typeof params === "object" && params !== null) ? message : undefined;
  }
  return Message.isResponse(message) ? withWholeError(message) : undefined;
}

function withWholeError(response: ResponseMessage): ResponseMessage {
  const error: unknown = response.error;
  if (error === undefined || error === null) return response;
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  if (Number.isInteger(code) && typeof message === "string") return response;
  const told = typeof message === "string" ? message : JSON.stringify(error).slice(0, 200);
  return { ...response, error: { code: Number.isInteger(code) ? Number(code) : ErrorCodes.InternalError, message: told } };
}
