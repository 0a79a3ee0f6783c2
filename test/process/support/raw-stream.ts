import { type ClientHttp2Session, connect } from "node:http2";
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";

/** A server stream that nobody reads until `read`: what does not fit into the windows of HTTP/2 stays with the server. */
export interface RawStream<T> {
  /** Reads on until this holds; answers how many messages that took. */
  read(until: (message: T) => boolean): Promise<number>;
}

/** A connection that speaks gRPC by hand, because a client library reads ahead. `await using` closes it. */
export class RawConnection implements AsyncDisposable {
  readonly #session: ClientHttp2Session;

  /** @param address `host:port` of the gRPC door. */
  constructor(address: string) {
    this.#session = connect(`http://${address}`);
    this.#session.on("error", () => {});
  }

  /** Calls a method; the answers are not read. */
  open<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { readonly input: I; readonly output: O },
    init: MessageInitShape<I>,
  ): RawStream<MessageShape<O>> {
    const stream = this.#session.request({
      ":method": "POST",
      ":path": `/${method.parent.typeName}/${method.name}`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    stream.pause();
    stream.end(framed(toBinary(method.input, create(method.input, init))));
    return {
      read: (until) =>
        new Promise((resolve, reject) => {
          let rest = Buffer.alloc(0);
          let messages = 0;
          stream.once("close", () => reject(new Error(`the stream ended after ${messages} messages`)));
          stream.on("data", (chunk: Buffer) => {
            rest = Buffer.concat([rest, chunk]);
            while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
              const end = 5 + rest.readUInt32BE(1);
              messages++;
              if (until(fromBinary(method.output, rest.subarray(5, end)))) resolve(messages);
              rest = rest.subarray(end);
            }
          });
          stream.resume();
        }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session.destroy();
  }
}

function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
