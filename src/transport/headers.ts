import { Metadata } from "@grpc/grpc-js";

/** gRPC metadata as fetch headers: binary values in base64, several values of a name joined by a comma. */
export function headersFromMetadata(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const name of Object.keys(metadata.getMap())) {
    for (const value of metadata.get(name)) headers.append(name, typeof value === "string" ? value : value.toString("base64"));
  }
  return headers;
}

/** Fetch headers as gRPC metadata; names that end in -bin carry base64. */
export function metadataFromHeaders(init: ConstructorParameters<typeof Headers>[0], into = new Metadata()): Metadata {
  if (init === undefined) return into;
  for (const [name, value] of new Headers(init)) addHeader(into, name, value);
  return into;
}

/** The same of a plain object. Making Headers of it would have Node load all of fetch, a tenth of a second before a first call. */
export function metadataFromRecord(headers: Readonly<Record<string, string>>, into = new Metadata()): Metadata {
  for (const [name, value] of Object.entries(headers)) addHeader(into, name.toLowerCase(), value);
  return into;
}

function addHeader(into: Metadata, name: string, value: string): void {
  if (!name.endsWith("-bin")) into.add(name, value);
  else for (const part of value.split(",")) into.add(name, Buffer.from(part.trim(), "base64"));
}

/** The same bytes as a Buffer, which is what grpc-js wants, without a copy. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
