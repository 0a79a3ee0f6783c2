import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { pino, stdTimeFunctions } from "pino";
import { writeAll } from "./write-all.ts";

/** So much is kept for a reader that stands still; what comes beyond is lost, and counted. In bytes, about. */
const keptAtMost = 1 << 20;
const againMs = 10;

/** Where the lines of the log go. */
export interface LogSink {
  write(line: string): void;
}

/**
 * The sink for a file descriptor. A line is written before the call returns, so that it is out before whatever it tells of can end the
 * process. A reader that stands still (a pager, Ctrl-S, a parent that is busy) must not hold up the server, though: pipes, terminals and
 * sockets are written to without waiting, lines are kept for a while and then lost, which is said when it is read again. Files are
 * written to as they are.
 */
export function logSink(fd: number): LogSink {
  const kind = kindOf(fd);
  if (kind === "socket") return new PatientSink(new SocketWay(fd));
  const own = kind === "pipe" ? withoutWaiting(fd) : undefined;
  return own === undefined ? { write: (line) => writeAll(fd, line) } : new PatientSink(new PipeWay(own));
}

function kindOf(fd: number): "pipe" | "socket" | "other" {
  try {
    const stat = fstatSync(fd);
    if (stat.isSocket()) return "socket";
    return stat.isFIFO() || stat.isCharacterDevice() ? "pipe" : "other";
  } catch {
    return "other";
  }
}

/** Opened anew: to set what is shared to non-blocking would do the same to the other programs that write to it. */
function withoutWaiting(fd: number): number | undefined {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}

/** A way out that is never waited for. */
interface Way {
  /** False: it is blocked, and nothing was taken. What nobody will ever read counts as taken. */
  put(line: Buffer): boolean;
  /** Called when it may be open again. */
  onOpen: () => void;
}

class PipeWay implements Way {
  onOpen = () => {};
  readonly #fd: number;
  #timer: NodeJS.Timeout | undefined;
  /** What is left of a line of which a part is out. */
  #rest: Buffer | undefined;

  constructor(fd: number) {
    this.#fd = fd;
    process.on("exit", () => this.#open());
  }

  put(line: Buffer): boolean {
    if (this.#rest !== undefined) {
      this.#rest = this.#write(this.#rest);
      if (this.#rest !== undefined) return false;
    }
    const left = this.#write(line);
    if (left?.length === line.length) return false;
    this.#rest = left;
    return true;
  }

  #open(): void {
    if (this.#rest !== undefined) this.#rest = this.#write(this.#rest);
    if (this.#rest === undefined) this.onOpen();
  }

  /** @returns what could not be written yet. */
  #write(bytes: Buffer): Buffer | undefined {
    let left = bytes;
    while (left.length > 0) {
      try {
        left = left.subarray(writeSync(this.#fd, left));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return undefined;
        this.#later();
        return left;
      }
    }
    return undefined;
  }

  #later(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#open();
    }, againMs);
    this.#timer.unref();
  }
}

/** Sockets cannot be opened anew, and Node writes to them without waiting. None of this server's children has its own. */
class SocketWay implements Way {
  onOpen = () => {};
  readonly #socket: Socket;
  #isGone = false;

  constructor(fd: number) {
    // Two handles on one descriptor are not allowed.
    this.#socket = fd === 2 ? (process.stderr as unknown as Socket) : new Socket({ fd, readable: false, writable: true });
    this.#socket.on("error", () => {
      this.#isGone = true;
    });
    this.#socket.on("drain", () => this.onOpen());
    this.#socket.unref();
  }

  put(line: Buffer): boolean {
    if (this.#isGone) return true;
    if (this.#socket.writableNeedDrain) return false;
    this.#socket.write(line);
    return true;
  }
}

class PatientSink implements LogSink {
  readonly #way: Way;
  readonly #kept: Buffer[] = [];
  #size = 0;
  #lost = 0;
  /** Says that lines were lost, in the form of the log. */
  readonly #teller = pino(
    { base: { pid: process.pid }, timestamp: stdTimeFunctions.isoTime },
    { write: (line) => this.#keep(line) },
  );

  constructor(way: Way) {
    this.#way = way;
    way.onOpen = () => this.#flush();
  }

  write(line: string): void {
    if (this.#size + line.length > keptAtMost) this.#lost++;
    else this.#keep(line);
    this.#flush();
  }

  #keep(line: string): void {
    const bytes = Buffer.from(line);
    this.#kept.push(bytes);
    this.#size += bytes.length;
  }

  #flush(): void {
    for (let next = this.#kept[0]; next !== undefined; next = this.#kept[0]) {
      if (!this.#way.put(next)) return;
      this.#kept.shift();
      this.#size -= next.length;
      if (this.#size === 0 && this.#lost > 0) this.#tellLost();
    }
  }

  #tellLost(): void {
    const lost = this.#lost;
    this.#lost = 0;
    this.#teller.warn({ lost }, "lines of this log were lost because nobody read it");
  }
}
