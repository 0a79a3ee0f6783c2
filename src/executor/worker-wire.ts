import type { Readable, Writable } from "node:stream";
import {
  type CancellationToken,
  createMessageConnection,
  type DataCallback,
  type Disposable,
  Message,
  type MessageConnection,
  NullLogger,
  type ResponseMessage,
} from "vscode-jsonrpc/node";
import { LineMessageReader, LineMessageWriter } from "../kit/line-transport.ts";
import type { JsonValue } from "./json.ts";

/** Longest line on stdout that can be a message, in bytes. */
export const maxWireLineBytes = 4_194_304;

/** What a worker answered. `too-long`: an answer of more than `maxWireLineBytes`. */
export type Answer =
  | { readonly kind: "result"; readonly value: JsonValue }
  | { readonly kind: "error"; readonly code: number; readonly message: string; readonly data: unknown }
  | { readonly kind: "too-long" };

export interface WireHooks {
  /** A notification. Nothing more is read until the promise resolves. */
  onNotification(method: string, params: unknown): Promise<void> | undefined;
  /** A line on stdout that is no message, without its end. Nothing more is read until the promise resolves. */
  onStray(line: Buffer): Promise<void> | undefined;
  /** It cannot be talked to any more; also when it has just ended. */
  onBroken(problem: string): void;
}

/**
 * Requests to a worker and what it writes to stdout.
 *
 * One message is handled after the other, and reading stops meanwhile: what a worker writes waits in its own pipe, and is told in
 * the order in which it was written. Requests of the worker are not answered: the protocol has none.
 */
export class WorkerWire {
  /** Resolves when stdout was read to its end. */
  readonly closed: Promise<void>;
  readonly #reader: ThroughReader;
  readonly #connection: MessageConnection;
  readonly #hooks: WireHooks;
  #handled: () => void = () => {};
  #open = true;

  constructor(stdin: Writable, stdout: Readable, hooks: WireHooks) {
    this.#hooks = hooks;
    this.#reader = new ThroughReader(stdout, {
      onMessage: (message, pass) => this.#read(message, pass),
      onOther: (line, cut) => this.#other(line, cut),
    });
    const writer = new LineMessageWriter(stdin);
    this.#connection = createMessageConnection(this.#reader, writer, NullLogger, {
      messageStrategy: {
        handleMessage: (message, next) => {
          next(message);
          // Whoever asked goes on before the next line is read.
          setImmediate(this.#handled);
        },
      },
    });
    this.closed = new Promise((resolve) => {
      this.#reader.onClose(() => {
        this.#open = false;
        resolve();
        hooks.onBroken("It closed its stdout.");
      });
    });
    writer.onError(() => {
      this.#open = false;
      hooks.onBroken("It closed its stdin.");
    });
    writer.onClose(() => {
      this.#open = false;
    });
    this.#connection.listen();
  }

  /** False once it cannot be written to or read from; asking is of no use then. */
  get open(): boolean {
    return this.#open;
  }

  /** Rejects only when the question could not be written, or the wire was taken down before the answer came. */
  async request(method: string, params: object, token: CancellationToken): Promise<Answer> {
    return await this.#connection.sendRequest<Answer>(method, params, token);
  }

  dispose(): void {
    this.#open = false;
    this.#connection.dispose();
  }

  #read(message: Message, pass: DataCallback): void {
    // Only responses go through the connection: the rest it would keep, or throw at (a "$/cancelRequest" without an id).
    if (Message.isNotification(message)) this.#hold(this.#hooks.onNotification(message.method, message.params));
    else if (Message.isResponse(message) && !Message.isRequest(message)) this.#respond(message.id, answerOf(message), pass);
  }

  /**
   * Whatever the worker answered travels through the connection as a result, errors too: what the connection rejects is then always
   * its own trouble, and never the worker's words.
   */
  #respond(id: ResponseMessage["id"], answer: Answer, pass: DataCallback): void {
    // The connection handles it in a later turn. Nothing is read until then, so that it never has more than one to keep.
    const handled = new Promise<void>((resolve) => {
      this.#handled = resolve;
    });
    this.#hold(handled);
    const response: ResponseMessage & { readonly result: Answer } = { jsonrpc: "2.0", id, result: answer };
    pass(response);
  }

  #other(line: Buffer, cut: boolean): void {
    const begin = cut ? line.subarray(0, 256).toString("utf8") : "";
    const id = /^\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d+)\s*,/.exec(begin)?.[1];
    if (id !== undefined) this.#reader.pass((pass) => this.#respond(Number(id), { kind: "too-long" }, pass));
    // It may have been an answer, and then somebody would wait for it for ever.
    else if (/^\s*\{/.test(begin) && !begin.includes('"method"')) {
      this.#hooks.onBroken(`It wrote a message of more than ${maxWireLineBytes} bytes to stdout.`);
    } else this.#hold(this.#hooks.onStray(line));
  }

  #hold(until: Promise<void> | undefined): void {
    if (until === undefined) return;
    this.#reader.pause();
    const resume = () => this.#reader.resume();
    until.then(resume, resume);
  }
}

interface ThroughHooks {
  /** @param pass hands a message on to the connection. */
  onMessage(message: Message, pass: DataCallback): void;
  onOther(line: Buffer, cut: boolean): void;
}

/** Reads messages and lets somebody else decide what of them goes on to the connection. */
class ThroughReader extends LineMessageReader {
  readonly #hooks: ThroughHooks;
  #pass: DataCallback = () => {};

  constructor(stdout: Readable, hooks: ThroughHooks) {
    super(stdout, { maxLineBytes: maxWireLineBytes, onOther: hooks.onOther });
    this.#hooks = hooks;
  }

  override listen(callback: DataCallback): Disposable {
    this.#pass = callback;
    return super.listen((message) => this.#hooks.onMessage(message, callback));
  }

  pass(how: (pass: DataCallback) => void): void {
    how(this.#pass);
  }
}

function answerOf({ result, error }: ResponseMessage): Answer {
  if (error) return { kind: "error", code: error.code, message: error.message, data: error.data };
  return { kind: "result", value: result as JsonValue };
}
