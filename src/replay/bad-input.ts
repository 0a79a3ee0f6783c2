import { Failure } from "../engine/failure.ts";

/** A value as it is shown in an error: quoted, and cut where it is long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Ends the reading of a file with sentences that are written for people, one a line. */
export function badInput(source: string, ...problems: readonly string[]): Failure {
  return new Failure("INVALID_ARGUMENT", problems.map((problem) => `${source}: ${problem}`).join("\n"));
}
