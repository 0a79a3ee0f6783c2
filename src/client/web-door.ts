import type { DescService } from "@bufbuild/protobuf";
import {
  type CallOptions,
  Code,
  ConnectError,
  createClient,
  type Client as RpcClient,
  type Transport,
} from "@connectrpc/connect";
import { type AbortLink, linkAborts } from "./abort-link.ts";
import { fetchTransport } from "./fetch-transport.ts";
import type { Door } from "./ground.ts";

/**
 * A way over the web door, which speaks Connect.
 * @param to `http://host:port`, or a transport that the program has made, with its own headers and interceptors.
 */
export function webDoor(to: string | Transport): Door {
  const transport = typeof to === "string" ? fetchTransport(to) : to;
  const running = new Set<AbortLink>();
  let isClosed = false;

  const begin = (options: CallOptions = {}): AbortLink => {
    if (isClosed) throw new ConnectError("the connection is closed", Code.Unavailable);
    const link = linkAborts(options.signal);
    running.add(link);
    return link;
  };
  const end = (link: AbortLink) => {
    running.delete(link);
    link.letGo();
  };

  return {
    address: typeof to === "string" ? to : "the transport of the program",
    // Clients of other languages understand only the address of the gRPC door, which the server names.
    childAddress: undefined,
    client<Desc extends DescService>(service: Desc): RpcClient<Desc> {
      const plain = createClient(service, transport) as unknown as Record<string, Method>;
      const methods: Record<string, Method> = {};
      for (const { localName, methodKind } of service.methods) {
        const method = plain[localName] as Method;
        methods[localName] = (request, options) => {
          const link = begin(options);
          const answer = method(request, { ...options, signal: link.signal });
          if (methodKind === "unary") return (answer as Promise<unknown>).finally(() => end(link));
          return readToEnd(answer as AsyncIterable<unknown>, link, end);
        };
      }
      return methods as unknown as RpcClient<Desc>;
    },
    close() {
      isClosed = true;
      for (const link of running) link.abort();
    },
  };
}

type Method = (request: unknown, options?: CallOptions) => Promise<unknown> | AsyncIterable<unknown>;

/** Connect's own streams go on when a reader breaks out of them. */
async function* readToEnd(messages: AsyncIterable<unknown>, link: AbortLink, end: (link: AbortLink) => void) {
  try {
    yield* messages;
  } finally {
    link.abort();
    end(link);
  }
}
