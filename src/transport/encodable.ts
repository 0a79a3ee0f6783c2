import { create, type DescMessage, type MessageInitShape, type MessageShape, toBinary, toJson } from "@bufbuild/protobuf";
import type { HandlerContext, MethodImplSpec } from "@connectrpc/connect";
import type { ToError } from "./grpc-handlers.ts";

/**
 * The same implementation, whose answers are known to be encodable. Connect encodes after the guard and out of its reach:
 * an answer that cannot be encoded would be told to the client with its text and to the log not at all.
 */
export function encodable(spec: MethodImplSpec, toError: ToError): MethodImplSpec {
  const { method } = spec;
  const rpc = `${method.parent.typeName}/${method.name}`;

  const checked = (init: MessageInitShape<DescMessage>, { requestHeader }: HandlerContext): MessageShape<DescMessage> => {
    try {
      const message = create(method.output, init);
      // Each finds what the other lets pass: numbers out of range, and times that JSON cannot write. A GET has no content
      // type and says in its query which of the two it wants.
      toBinary(method.output, message);
      if (!/proto/.test(requestHeader.get("content-type") ?? "")) toJson(method.output, message);
      return message;
    } catch (thrown) {
      throw toError(thrown, rpc);
    }
  };

  switch (spec.kind) {
    case "unary":
      return {
        ...spec,
        impl: async (request: MessageShape<DescMessage>, context: HandlerContext) =>
          checked(await spec.impl(request, context), context),
      };
    case "server_streaming":
      return {
        ...spec,
        impl: (request: MessageShape<DescMessage>, context: HandlerContext) =>
          checkedStream(spec.impl(request, context), (init) => checked(init, context)),
      };
    default:
      return spec;
  }
}

/** Checks each message. Told to stop, it tells so at once; a generator would pass it on only between two messages. */
function checkedStream<I, O>(messages: AsyncIterable<I>, check: (init: I) => O): AsyncIterableIterator<O> {
  const source = messages[Symbol.asyncIterator]();
  const iterator: AsyncIterableIterator<O> = {
    [Symbol.asyncIterator]: () => iterator,
    async next() {
      const result = await source.next();
      return result.done === true ? { done: true, value: undefined } : { done: false, value: check(result.value) };
    },
    async return() {
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return iterator;
}
