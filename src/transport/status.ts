import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { type Status, StatusSchema } from "#gen/google/rpc/status_pb.js";
import { headersFromMetadata, metadataFromHeaders } from "./headers.ts";

/** Trailer that carries a serialized google.rpc.Status: the code, the message and the details of an error. */
const detailsTrailer = "grpc-status-details-bin";

/** The status and trailers that say what `error` says, its details in grpc-status-details-bin. */
export function statusFromError(error: ConnectError): StatusObject {
  const metadata = metadataFromHeaders(error.metadata, new Metadata());
  if (error.details.length > 0) {
    const status = create(StatusSchema, {
      code: error.code,
      message: error.rawMessage,
      details: error.details.map((detail) =>
        "desc" in detail
          ? anyPack(detail.desc, create(detail.desc, detail.value))
          : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value },
      ),
    });
    metadata.set(detailsTrailer, Buffer.from(toBinary(StatusSchema, status)));
  }
  return { code: error.code as number, details: error.rawMessage, metadata };
}

/** What grpc-js says of each call on a connection that was ended with an error; INTERNAL, although nobody failed at the call itself. */
const connectionEnded =
  /^Received RST_STREAM with code \d+ triggered by internal client error: (Session closed with error code \d+)/;

/**
 * What a gRPC client was told, as a ConnectError whose findDetails works. That the connection was ended is UNAVAILABLE, as in every
 * other language.
 */
export function errorFromStatus(status: StatusObject | ServiceError): ConnectError {
  const ended = (status.code as number) === Code.Internal ? connectionEnded.exec(status.details)?.[1] : undefined;
  const code = isCode(status.code) ? status.code : Code.Unknown;
  const error = new ConnectError(
    ended === undefined ? status.details : `the connection was ended (${ended})`,
    ended === undefined ? code : Code.Unavailable,
    headersFromMetadata(status.metadata),
  );
  error.isWireError = true;
  const bytes = status.metadata.get(detailsTrailer)[0];
  if (bytes !== undefined && typeof bytes !== "string") {
    error.details = (parseStatus(bytes)?.details ?? []).map((any) => ({
      type: any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1),
      value: any.value,
    }));
  }
  return error;
}

/** Details that cannot be read are left out: the code and the message still say what happened. */
function parseStatus(bytes: Uint8Array): Status | undefined {
  try {
    return fromBinary(StatusSchema, bytes);
  } catch {
    return undefined;
  }
}

function isCode(code: number): code is Code {
  return code >= Code.Canceled && code <= Code.Unauthenticated;
}
