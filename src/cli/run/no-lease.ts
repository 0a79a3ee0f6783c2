import { reasonLines, refusalText } from "../describe-work.ts";
import { exitCode } from "../exit-codes.ts";
import type { CliIo } from "../io.ts";
import { age } from "../text.ts";
import type { WaitOutcome } from "./wait.ts";

/**
 * Tells of a wait that has ended without a lease.
 * @param consequence what follows from it: `, and python3 was not started`.
 * @returns the exit code.
 */
export function tellNoLease(
  outcome: Extract<WaitOutcome, { readonly kind: "refused" | "timed-out" }>,
  consequence: string,
  io: CliIo,
): number {
  if (outcome.kind === "refused") io.err(`sluice: refused${consequence}\n${refusalText(outcome.refusal)}`);
  else {
    io.err(`sluice: waited ${age(outcome.waitedMs)} in vain${consequence}; --timeout allows longer\n`);
    io.err(reasonLines(outcome.reasons));
  }
  return exitCode.refused;
}
