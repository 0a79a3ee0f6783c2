import type { Duration } from "@bufbuild/protobuf/wkt";
import type { FieldViolation } from "../engine/failure.ts";

/**
 * Checks of single fields at the boundary. Each appends to `violations` what is wrong, naming the field as the proto names it
 * and the limit, and answers a usable value all the same, so that one pass finds everything.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point: they would forge log lines and move cursors.
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** A text of at most `maxBytes` bytes of UTF-8 without control characters. */
export function text(value: string, field: string, maxBytes: number, violations: FieldViolation[]): string {
  // UTF-16 units are a lower bound of UTF-8 bytes: a 10 MB string is refused without being encoded.
  const bytes = value.length > maxBytes ? value.length : Buffer.byteLength(value);
  if (bytes > maxBytes) {
    violations.push({
      field,
      description: `must be at most ${maxBytes} bytes of UTF-8, got ${value.length > maxBytes ? "at least " : ""}${bytes}`,
    });
    return "";
  }
  if (controlCharacters.test(value)) {
    violations.push({ field, description: "must not contain control characters or line breaks" });
    return "";
  }
  return value;
}

/** A whole number from `min` to `max`. */
export function wholeNumber(value: number, field: string, min: number, max: number, violations: FieldViolation[]): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    violations.push({ field, description: `must be a whole number from ${min} to ${max}, got ${value}` });
    return min;
  }
  return value;
}

/** A duration from `minMs` to `maxMs` in milliseconds (parts of a millisecond count as a whole one); undefined when not set. */
export function duration(
  value: Duration | undefined,
  field: string,
  minMs: number,
  maxMs: number,
  violations: FieldViolation[],
): number | undefined {
  if (value === undefined) return undefined;
  // Seconds first: a bigint near 2^63 must not lose its sign or become Infinity on the way.
  const seconds = value.seconds;
  const beyond = seconds < -1_000_000_000_000n || seconds > 1_000_000_000_000n;
  const ms = beyond ? (seconds < 0n ? -Infinity : Infinity) : Number(seconds) * 1000 + awayFromZero(value.nanos / 1_000_000);
  const malformed =
    Math.abs(value.nanos) > 999_999_999 || (value.nanos !== 0 && seconds !== 0n && value.nanos < 0 !== seconds < 0n);
  if (malformed || ms < minMs || ms > maxMs) {
    violations.push({
      field,
      description: `must be from ${seconds_(minMs)} to ${seconds_(maxMs)}, got ${malformed ? "a malformed duration" : `${seconds} s`}`,
    });
    return undefined;
  }
  return ms;
}

/** A negative duration stays negative however small it is: rounded to 0 it would mean "for ever" in some fields. */
function awayFromZero(ms: number): number {
  return ms < 0 ? Math.floor(ms) : Math.ceil(ms);
}

function seconds_(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`;
}
