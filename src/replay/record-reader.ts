import { badInput, shown } from "./bad-input.ts";
import { recordVersion, versionOfRecord } from "./decision-record.ts";
import { maxJobs } from "./job.ts";
import type { Line } from "./lines.ts";
import { BadLine, Fields } from "./record-fields.ts";
import { type ReadRecord, RecordedWork } from "./recorded-work.ts";

/**
 * Reads a record. Every request that was granted and whose lease has ended is a job: it arrives when it was asked for, and runs as
 * long as its lease was held. The first arrival is moment 0.
 *
 * A line that is not whole is what a crash leaves behind. It is passed over at the end of the record and before the start of the
 * next server, and is an error anywhere else.
 * @param source names the record in errors.
 * @throws Failure INVALID_ARGUMENT that names line and field.
 */
export function readRecord(lines: Iterable<Line>, source: string): ReadRecord {
  const work = new RecordedWork();
  let torn: number | undefined;
  let header = true;
  for (const { number, text } of lines) {
    if (header) checkHeader(text, source);
    if (header || text === "") {
      header = false;
      continue;
    }
    try {
      const value = parsed(text);
      const fields = value === undefined ? undefined : new Fields(value);
      if (torn !== undefined) {
        if (fields === undefined || fields.text("type") !== "start") throw new BadLine(notWhole, torn);
        work.torn++;
        torn = undefined;
      }
      if (fields === undefined) torn = number;
      else work.take(fields);
    } catch (error) {
      if (!(error instanceof BadLine)) throw error;
      throw badInput(source, `line ${error.line ?? number}: ${error.message}`);
    }
    if (work.count > maxJobs) throw badInput(source, `line ${number}: a replay takes at most ${maxJobs} jobs`);
  }
  return work.result(torn);
}

const notWhole = "it is not whole, and no server starts after it; is the record damaged?";

/** Undefined: it is not JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function checkHeader(text: string, source: string): void {
  const version = versionOfRecord(text);
  if (version === recordVersion) return;
  throw badInput(
    source,
    version === undefined
      ? `line 1: ${shown(text)} does not begin a record of sluice`
      : `is a record of version ${version}, and this sluice reads version ${recordVersion}`,
  );
}
