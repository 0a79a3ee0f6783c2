import type { DescService } from "@bufbuild/protobuf";
import { Code, type ServiceImplSpec } from "@connectrpc/connect";
import { ServerReflection, type ServerReflectionRequest } from "#gen/grpc/reflection/v1/reflection_pb.js";
import {
  ServerReflection as ServerReflectionAlpha,
  type ServerReflectionRequest as ServerReflectionRequestAlpha,
} from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import { implement } from "./implement.ts";
import { createReflectionIndex, type ReflectionIndex } from "./reflection-index.ts";

/** The answer to one request; both versions of the protocol have the same ones. */
type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

/**
 * Server reflection, v1 and v1alpha: lets buf curl, grpcurl and other tools call the server without its .proto files. It
 * describes `services` and itself.
 * @param drained ends the open streams, which clients otherwise keep as long as they like.
 */
export function reflectionServices(services: readonly DescService[], drained: AbortSignal): ServiceImplSpec[] {
  let made: ReflectionIndex | undefined;
  // Takes 20 ms, which a start does not have, and few ask.
  const index = () => {
    made ??= createReflectionIndex([...services, ServerReflection, ServerReflectionAlpha]);
    return made;
  };
  return [
    implement(ServerReflection, { serverReflectionInfo: (requests) => answers(index(), requests, drained) }),
    implement(ServerReflectionAlpha, { serverReflectionInfo: (requests) => answers(index(), requests, drained) }),
  ];
}

async function* answers<Request extends ServerReflectionRequest | ServerReflectionRequestAlpha>(
  index: ReflectionIndex,
  requests: AsyncIterable<Request>,
  drained: AbortSignal,
) {
  const incoming = requests[Symbol.asyncIterator]();
  let end = () => {};
  const over = new Promise<{ done: true; value: undefined }>((resolve) => {
    end = () => resolve({ done: true, value: undefined });
  });
  drained.addEventListener("abort", end);
  if (drained.aborted) end();
  try {
    for (;;) {
      const next = await Promise.race([incoming.next(), over]);
      if (next.done === true) return;
      yield { validHost: next.value.host, originalRequest: next.value, messageResponse: answer(index, next.value) };
    }
  } finally {
    drained.removeEventListener("abort", end);
  }
}

function answer(
  index: ReflectionIndex,
  { messageRequest: request }: ServerReflectionRequest | ServerReflectionRequestAlpha,
): Answer {
  switch (request.case) {
    case "fileByFilename":
      return files(index.fileByName(request.value), `file ${request.value}`);
    case "fileContainingSymbol":
      return files(index.fileBySymbol(request.value), `symbol ${request.value}`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = request.value;
      return files(index.fileByExtension(containingType, extensionNumber), `extension ${extensionNumber} of ${containingType}`);
    }
    case "allExtensionNumbersOfType": {
      const numbers = index.extensionNumbers(request.value);
      if (numbers === undefined) return notFound(`message ${request.value}`);
      return { case: "allExtensionNumbersResponse", value: { baseTypeName: request.value, extensionNumber: numbers } };
    }
    case "listServices":
      return { case: "listServicesResponse", value: { service: index.services.map((name) => ({ name })) } };
    default:
      return {
        case: "errorResponse",
        value: { errorCode: Code.InvalidArgument, errorMessage: "the request asks for nothing that is known here" },
      };
  }
}

function files(found: Uint8Array[] | undefined, what: string): Answer {
  return found === undefined ? notFound(what) : { case: "fileDescriptorResponse", value: { fileDescriptorProto: found } };
}

function notFound(what: string): Answer {
  return { case: "errorResponse", value: { errorCode: Code.NotFound, errorMessage: `no ${what} here` } };
}
