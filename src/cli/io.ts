/** The terminal and the environment, as commands see them. */
export interface CliIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to standard output. `run` never does: its standard output is its command's. */
  out(text: string): void;
  /** Writes to standard error. */
  err(text: string): void;
  /** True when standard error is a terminal. */
  readonly errIsTerminal: boolean;
  /** Width of that terminal. */
  columns(): number;
  /** Milliseconds since 1970, for ages. */
  now(): number;
}

/** Ends a command with a sentence for people and an exit code. */
export class CliError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = "CliError";
    this.code = code;
  }
}
