/** What is wrong with a state file, and what to do about it. Crosses threads, so it is plain data. */
export interface Problem {
  /** One sentence that goes on after "the state cannot be kept: ". */
  readonly what: string;
  /** What to do next. */
  readonly todo: string;
}

/** Thrown with words of its own. */
export class StateFileError extends Error {
  readonly problem: Problem;

  constructor(what: string, todo: string) {
    super(`${what}; ${todo}`);
    this.name = "StateFileError";
    this.problem = { what, todo };
  }
}

const words: Readonly<Record<string, (path: string) => Problem>> = {
  SQLITE_FULL: (path) => ({
    what: `the disk of ${path} is full`,
    todo: "free some space: it is tried again every few seconds",
  }),
  SQLITE_BUSY: (path) => ({
    what: `${path} is in use by another program`,
    todo: "stop the other server, or give this one a folder of its own with --state",
  }),
  SQLITE_NOTADB: (path) => ({ what: `${path} is not a state file`, todo: "choose another folder with --state" }),
  SQLITE_CORRUPT: (path) => ({
    what: `${path} is damaged`,
    todo: "move it away to start without what was promised before; programs that run count as foreign use then",
  }),
  SQLITE_CANTOPEN: (path) => ({
    what: `${path} cannot be opened`,
    todo: "see that the folder is there and that this user may write to it",
  }),
  SQLITE_READONLY: (path) => ({
    what: `${path} cannot be written to`,
    todo: "see that its file system is not read-only and that this user may write to it",
  }),
  SQLITE_IOERR: (path) => ({ what: `reading or writing ${path} failed`, todo: "see the kernel's log for the disk's errors" }),
};

/** Puts what SQLite or the system said into plain words. */
export function problemOf(error: unknown, path: string): Problem {
  if (error instanceof StateFileError) return error.problem;
  const code = codeOf(error);
  const known = Object.entries(words).find(([prefix]) => code.startsWith(prefix))?.[1](path);
  const said = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, " ");
  if (known !== undefined) return { ...known, what: `${known.what} (${said})` };
  return { what: `${path}: ${said}`, todo: "see that the folder is there and that this user may write to it" };
}

function codeOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === "string" && code !== "") return code;
  // The library has no code for what fails before there is a connection; SQLite's own number is the end of its text.
  return /: 14"?\)?$/.test(String(message)) ? "SQLITE_CANTOPEN" : "";
}
