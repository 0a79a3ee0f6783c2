import type { EventEmitter } from "node:events";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { Metadata, type ServerDuplexStream, type ServerUnaryCall, type ServerWritableStream } from "@grpc/grpc-js";
import { headersFromMetadata, metadataFromHeaders } from "./headers.ts";
import type { Received } from "./received.ts";

/** A call as grpc-js hands it to a handler. */
export type GrpcCall =
  | ServerUnaryCall<Received, Buffer>
  | ServerWritableStream<Received, Buffer>
  | ServerDuplexStream<Received, Buffer>;

/**
 * One for all: to collect a stack for each call that has gone well takes longer than most of what is done for it. Made when it is first
 * needed, because it has Headers, and with them Node loads all of fetch.
 */
let callIsOver: ConnectError | undefined;

/**
 * What an implementation may know about a call that came in over gRPC. Everything is made when it is first asked for: most
 * calls never look at their signal or headers, and those that wait in thousands should cost little.
 */
export class GrpcContext implements HandlerContext {
  readonly method: DescMethod;
  readonly #call: GrpcCall;
  #controller: AbortController | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #values: ContextValues | undefined;
  #isAnswered = false;

  constructor(call: GrpcCall, method: DescMethod) {
    this.#call = call;
    this.method = method;
  }

  get service(): DescService {
    return this.method.parent;
  }

  get protocolName(): string {
    return "grpc";
  }

  get requestMethod(): string {
    return "POST";
  }

  get url(): string {
    return `http://${this.#call.getHost()}${this.#call.getPath()}`;
  }

  /** Aborts when the client goes or the deadline passes, and in any case once the call is over. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      // grpc-js says "cancelled" at the end of every call, however it ended.
      if (this.#call.cancelled) controller.abort(this.#ending());
      else (this.#call as EventEmitter).once("cancelled", () => controller.abort(this.#ending()));
    }
    return this.#controller.signal;
  }

  /** Time that is left, in ms; undefined when the client set no deadline. */
  timeoutMs(): number | undefined {
    const deadline = this.#deadline();
    return deadline === Number.POSITIVE_INFINITY ? undefined : deadline - Date.now();
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= headersFromMetadata(this.#call.metadata);
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  get values(): ContextValues {
    this.#values ??= createContextValues();
    return this.#values;
  }

  /** Sends the headers that the implementation set. Does nothing when it set none, or when they have been sent. */
  sendHeader(): void {
    if (this.#responseHeader === undefined) return;
    this.#call.sendMetadata(metadataFromHeaders(this.#responseHeader));
    this.#responseHeader = undefined;
  }

  /** The trailers that the implementation set. */
  trailer(): Metadata | undefined {
    return this.#responseTrailer === undefined ? undefined : metadataFromHeaders(this.#responseTrailer, new Metadata());
  }

  #deadline(): number {
    const deadline = this.#call.getDeadline();
    return typeof deadline === "number" ? deadline : deadline.getTime();
  }

  /** The implementation has answered: what its signal says from now on is about nothing that anybody waits for. */
  answered(): void {
    this.#isAnswered = true;
  }

  #ending(): ConnectError {
    if (this.#isAnswered) {
      callIsOver ??= new ConnectError("the call is over", Code.Canceled);
      return callIsOver;
    }
    return Date.now() >= this.#deadline()
      ? new ConnectError("the deadline of the call has passed", Code.DeadlineExceeded)
      : new ConnectError("the call was cancelled by the client", Code.Canceled);
  }
}
