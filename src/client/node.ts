import { uptime } from "node:os";
import type { Transport } from "@connectrpc/connect";
import { Client } from "./client.ts";
import { monotonicClock } from "./clock.ts";
import { grpcDoor } from "./grpc-door.ts";
import type { ConnectOptions } from "./options.ts";
import { webDoor } from "./web-door.ts";

export * from "./names.ts";

const defaultAddress = "127.0.0.1:50051";

/**
 * A client of the server at `address`. Nothing is opened before the first call.
 * @param address over gRPC `host:port` or `unix:/path`, over Connect `http://host:port`; or a Transport of Connect. Unless said, the
 * environment's SLUICE_ADDRESS, else 127.0.0.1:50051.
 * @throws InvalidRequest for an address that is none of these.
 */
export function connect(address?: string | Transport, options: ConnectOptions = {}): Client {
  const to = address || process.env.SLUICE_ADDRESS || defaultAddress;
  const isGrpc = typeof to === "string" && !/^https?:\/\//.test(to);
  const door = isGrpc ? grpcDoor(to, options.keepaliveMs ?? 10_000) : webDoor(to);
  const isLocal = "isLocal" in door ? door.isLocal === true : typeof to === "string" && isLocalUrl(to);
  return new Client(door, {
    clock: monotonicClock(now),
    pid: isLocal ? process.pid : undefined,
    environment: process.env,
    warn: options.warn ?? ((sentence) => process.emitWarning(sentence, "SluiceWarning")),
  });
}

/** Goes on while the machine sleeps, where there is such a clock: so does the server's. Counts in steps of 10 ms there. */
const now = process.platform === "linux" ? () => uptime() * 1000 : undefined;

function isLocalUrl(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
}
