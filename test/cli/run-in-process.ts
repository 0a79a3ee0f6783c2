import type { CliIo } from "../../src/cli/io.ts";
import { runCli } from "../../src/cli/program.ts";

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The moment that listings are made at: their ages are measured from it. */
export const now = Date.parse("2026-03-01T12:00:00Z");

/** Runs a command line in this process and keeps what it prints. */
export async function sluice(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  let out = "";
  let err = "";
  const io: CliIo = {
    env,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    errIsTerminal: false,
    columns: () => 80,
    now: () => now,
  };
  const code = await runCli(argv, io);
  return { code, out, err };
}
