/** One thing that was looked at. */
export interface Check {
  /** What was looked at, in a word or two. */
  readonly name: string;
  /** `fail`: something that is needed will not work. `warn`: it works, with a consequence worth knowing. */
  readonly status: "ok" | "warn" | "fail";
  /** One plain sentence. */
  readonly message: string;
  /** What to do; empty when there is nothing to do. */
  readonly advice: string;
}

export function ok(name: string, message: string): Check {
  return { name, status: "ok", message, advice: "" };
}

export function warn(name: string, message: string, advice: string): Check {
  return { name, status: "warn", message, advice };
}

export function fail(name: string, message: string, advice: string): Check {
  return { name, status: "fail", message, advice };
}
