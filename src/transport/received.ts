import { type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

/**
 * A request on its way through grpc-js, which keeps what it is given for as long as the call lasts: hours, for one that waits. So it is
 * given this, and whoever answers takes the message out.
 */
export class Received {
  readonly #desc: DescMessage;
  #message: Message | undefined;

  /** @param bytes that are no message of this kind are told when it is taken, as INVALID_ARGUMENT and not as grpc-js's own INTERNAL. */
  constructor(desc: DescMessage, bytes: Uint8Array) {
    this.#desc = desc;
    try {
      this.#message = fromBinary(desc, bytes);
    } catch {
      this.#message = undefined;
    }
  }

  /** The message, once. @throws ConnectError INVALID_ARGUMENT when it could not be read. */
  // biome-ignore lint/suspicious/noExplicitAny: what it is, the method says, which grpc-js's types do not carry.
  take(): any {
    const message = this.#message;
    this.#message = undefined;
    if (message === undefined) {
      throw new ConnectError(`the request could not be read as a ${this.#desc.typeName} message`, Code.InvalidArgument);
    }
    return message;
  }
}
