/** Why a result cannot be sent; undefined when it can. */
export function resultProblem(value: unknown, maxBytes: number): string | undefined {
  let problem: string | undefined;
  let text: string | undefined;
  try {
    text = JSON.stringify(value, (_key, item: unknown) => {
      // JSON.stringify would make null of one and nothing of the other.
      if (typeof item === "number" && !Number.isFinite(item)) problem ??= `it holds ${item}`;
      if (typeof item === "function" || typeof item === "symbol") problem ??= `it holds a ${typeof item}`;
      return item;
    });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  if (problem !== undefined) return problem;
  const bytes = Buffer.byteLength(text ?? "null");
  return bytes > maxBytes ? `it is ${bytes} bytes long as JSON, and may have ${maxBytes}` : undefined;
}
