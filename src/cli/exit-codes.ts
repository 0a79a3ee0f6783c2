import { constants } from "node:os";

/** What sluice's commands exit with. `run` exits with its command's own code once that has run. */
export const exitCode = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** EX_UNAVAILABLE of sysexits.h. */
  unreachable: 69,
  /** EX_TEMPFAIL of sysexits.h: trying later makes sense. */
  refused: 75,
  cannotRun: 126,
  notFound: 127,
} as const;

/** The code of a program that a signal ended, as shells count it. */
export function codeOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}

/** For --help. */
export const exitCodesHelp = `
Exit codes:
  0     all is well
  1     it failed
  2     the command line or the configuration is wrong
  69    the server cannot be reached
  75    refused, or waited as long as allowed
  126   the command cannot be run
  127   the command was not found
  128+n ended by signal n
  Once its command has run, "sluice run" exits with the command's own code.`;
