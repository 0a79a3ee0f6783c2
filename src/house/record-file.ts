import { type FileHandle, open } from "node:fs/promises";
import { Failure } from "../engine/failure.ts";
import type { Log } from "../observe/log.ts";
import { type RecordHeader, type RecordLine, recordVersion, versionOfRecord } from "../replay/decision-record.ts";

/** More than this is not kept for a disk that is slow: thousands of decisions. In UTF-16 units. */
const bufferLimit = 8 << 20;

/** Where the lines of a record go: a file that is only ever added to. */
export interface RecordSink {
  appendFile(text: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * A record that is being written. Lines are handed over and written behind the server's back, as many at a time as have come in
 * meanwhile. When that fails, or the disk does not keep up, it says so once and stops; the server goes on.
 */
export class RecordFile {
  readonly #path: string;
  readonly #sink: RecordSink;
  readonly #log: Log;
  #pending: string[] = [];
  #pendingLength = 0;
  #writing: Promise<void> | undefined;
  #over = false;

  constructor(path: string, sink: RecordSink, log: Log) {
    this.#path = path;
    this.#sink = sink;
    this.#log = log;
  }

  /** Never waits and never throws. */
  write(line: RecordLine): void {
    if (this.#over) return;
    const text = `${JSON.stringify(line)}\n`;
    this.#pending.push(text);
    this.#pendingLength += text.length;
    if (this.#pendingLength > bufferLimit) this.#fail(new Error("the disk does not keep up"));
    else this.#writing ??= this.#writeAll();
  }

  /** Writes what is still to be written, and closes the file. */
  async close(): Promise<void> {
    await this.#writing;
    if (this.#over) return;
    this.#over = true;
    await this.#closeSink();
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#pendingLength > 0) {
        const text = this.#pending.join("");
        this.#pending = [];
        this.#pendingLength = 0;
        await this.#sink.appendFile(text);
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#writing = undefined;
    if (this.#over) await this.#closeSink();
  }

  #fail(err: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#pending = [];
    this.#pendingLength = 0;
    this.#log.error(
      { record: this.#path, err },
      "recording stopped: the record cannot be written; everything else goes on. Make room and start the server again to record",
    );
  }

  async #closeSink(): Promise<void> {
    try {
      await this.#sink.close();
    } catch (err) {
      this.#log.warn({ record: this.#path, err }, "the record could not be closed");
    }
  }
}

/**
 * Opens a record to add to: a new file, which only its owner may read, or an earlier record of the same version.
 * @throws Failure that names --record when that cannot be done.
 */
export async function openRecord(path: string, log: Log): Promise<RecordFile> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "a+", 0o600);
    await prepare(file);
  } catch (error) {
    await file?.close();
    throw new Failure("INVALID_ARGUMENT", `--record: ${path} cannot be recorded to: ${(error as Error).message}`);
  }
  return new RecordFile(path, file, log);
}

async function prepare(file: FileHandle): Promise<void> {
  const stats = await file.stat();
  if (!stats.isFile()) throw new Error("it is not a file");
  if (stats.size === 0) {
    const header: RecordHeader = { sluice_record: recordVersion };
    await file.appendFile(`${JSON.stringify(header)}\n`);
    return;
  }
  const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
  const version = versionOfRecord(buffer.toString("utf8", 0, bytesRead).split("\n")[0] ?? "");
  if (version === undefined)
    throw new Error("it holds something else than a record of sluice; name a file that is not there yet");
  if (version !== recordVersion) {
    throw new Error(
      `it is a record of version ${version}, and this is version ${recordVersion}; name a file that is not there yet`,
    );
  }
  const last = await file.read(Buffer.alloc(1), 0, 1, stats.size - 1);
  // An earlier server died while it wrote: its last line stays torn, and the next begins on a line of its own.
  if (last.buffer[0] !== 0x0a) await file.appendFile("\n");
}
