import type { ReplayJob } from "./job.ts";
import { readJobList } from "./job-list.ts";
import { type Line, linesOf } from "./lines.ts";
import { readRecord } from "./record-reader.ts";
import type { ReadRecord } from "./recorded-work.ts";

/** What a file holds: a list knows the jobs alone, a record also the machine. */
export type Work = { readonly kind: "list"; readonly jobs: readonly ReplayJob[] } | ({ readonly kind: "record" } & ReadRecord);

/**
 * Reads a list of jobs or a record; its first character tells which.
 * @throws Failure INVALID_ARGUMENT that names file, line and field.
 */
export function readWork(path: string): Work {
  const lines = linesOf(path);
  try {
    const first = lines.next();
    const all = first.done === true ? [] : withFirst(first.value, lines);
    return first.done !== true && first.value.text.startsWith("{")
      ? { kind: "record", ...readRecord(all, path) }
      : { kind: "list", jobs: readJobList(all, path) };
  } finally {
    lines.return(undefined);
  }
}

function* withFirst(first: Line, rest: Iterable<Line>): Generator<Line> {
  yield first;
  yield* rest;
}
