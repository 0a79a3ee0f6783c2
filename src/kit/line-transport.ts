import type { Readable, Writable } from "node:stream";
import type { Message, MessageReader, MessageWriter } from "vscode-jsonrpc/node";
import { AbstractMessageReader, AbstractMessageWriter, type DataCallback, type Disposable } from "vscode-jsonrpc/node";
import { messageOf } from "./json-rpc.ts";
import { LineBuffer } from "./line-buffer.ts";

export interface LineReaderOptions {
  /** Longest line that is read, in bytes. */
  readonly maxLineBytes: number;
  /**
   * Hears every line that is not a JSON-RPC message, without its end. Of a line longer than the limit it hears the first
   * `maxLineBytes` once, with `cut`, also when they were the begin of a message.
   */
  readonly onOther: (line: Buffer, cut: boolean) => void;
}

/**
 * Reads JSON-RPC messages from a stream, one a line, and holds no more of it than one line and one chunk.
 *
 * `onClose` comes once, after the last message: when the stream has ended or broke. A callback that throws becomes `onError` and
 * the next line is read all the same.
 */
export class LineMessageReader extends AbstractMessageReader implements MessageReader {
  readonly #readable: Readable;
  readonly #options: LineReaderOptions;
  readonly #lines: LineBuffer;
  #callback: DataCallback | undefined;
  /** What came before it was paused and has not been read yet. */
  #rest: Buffer = Buffer.alloc(0);
  #reading = false;
  #paused = false;
  #ended = false;
  #closed = false;

  constructor(readable: Readable, options: LineReaderOptions) {
    super();
    this.#readable = readable;
    this.#options = options;
    this.#lines = new LineBuffer(options.maxLineBytes);
  }

  /** Begins to read. Call it once; `createMessageConnection(…).listen()` does. */
  listen(callback: DataCallback): Disposable {
    this.#callback = callback;
    this.#readable.on("error", (error) => this.fireError(error));
    this.#readable.once("end", this.#onEnd);
    this.#readable.once("close", this.#onEnd);
    this.#readable.on("data", this.#onData);
    // A stream that somebody paused before stays paused when somebody listens.
    if (!this.#paused) this.#readable.resume();
    return { dispose: () => this.#stop() };
  }

  /** Stops reading the stream. No line is told until `resume`, not even one that was read already. */
  pause(): void {
    this.#paused = true;
    this.#readable.pause();
  }

  /** Goes on where `pause` stopped. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#read();
    if (!this.#paused && this.#callback !== undefined) this.#readable.resume();
  }

  override dispose(): void {
    this.#stop();
    super.dispose();
  }

  #stop(): void {
    this.#callback = undefined;
    this.#rest = Buffer.alloc(0);
    // The listener for errors stays: without one an error would end the process.
    this.#readable.off("data", this.#onData).off("end", this.#onEnd).off("close", this.#onEnd);
  }

  readonly #onData = (chunk: Buffer | string): void => {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    this.#read();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#read();
  };

  /** Not entered twice: whoever hears a line may pause and resume, and lines must stay in order. */
  #read(): void {
    if (this.#reading) return;
    this.#reading = true;
    while (!this.#paused && this.#rest.length > 0) {
      const { taken, line } = this.#lines.take(this.#rest);
      this.#rest = this.#rest.subarray(taken);
      if (line !== undefined) this.#tell(line.bytes, line.cut);
    }
    if (this.#ended && !this.#paused && !this.#closed) this.#close();
    this.#reading = false;
  }

  #close(): void {
    this.#closed = true;
    const last = this.#lines.end();
    if (last !== undefined) this.#tell(last.bytes, last.cut);
    this.fireClose();
  }

  #tell(line: Buffer, cut: boolean): void {
    if (this.#callback === undefined) return;
    try {
      const message = cut ? undefined : messageOf(line);
      if (message === undefined) this.#options.onOther(line, cut);
      else this.#callback(message);
    } catch (error) {
      this.fireError(error);
    }
  }
}

/** Writes JSON-RPC messages to a stream, one a line, in the order of the calls. */
export class LineMessageWriter extends AbstractMessageWriter implements MessageWriter {
  readonly #writable: Writable;
  #failed = 0;

  constructor(writable: Writable) {
    super();
    this.#writable = writable;
    writable.on("error", (error) => this.fireError(error));
    writable.once("close", () => this.fireClose());
  }

  /**
   * Resolves when the stream has passed the message on, so that whoever waits for it is never ahead of a slow reader.
   * @throws when the message is not JSON, or the stream has ended or broke.
   */
  write(message: Message): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => {
        this.#failed += 1;
        this.fireError(error, message, this.#failed);
        reject(error);
      };
      try {
        this.#writable.write(`${JSON.stringify(message)}\n`, (error) => (error ? fail(error) : resolve()));
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  /** Ends the stream after what was written. */
  end(): void {
    this.#writable.end();
  }
}
