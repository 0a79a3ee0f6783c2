import type { Transport } from "@connectrpc/connect";
import { Client } from "./client.ts";
import { monotonicClock } from "./clock.ts";
import { InvalidRequest } from "./errors.ts";
import type { ConnectOptions } from "./options.ts";
import { webDoor } from "./web-door.ts";

export * from "./names.ts";

/**
 * A client of the server at `address`. Nothing is opened before the first call.
 * @param address `http://host:port` of the web door, or a Transport of Connect. Unless said, where the page came from.
 * @throws InvalidRequest for an address of the gRPC door, which browsers do not reach.
 */
export function connect(address?: string | Transport, options: ConnectOptions = {}): Client {
  const { location } = globalThis as { readonly location?: { readonly origin: string } };
  const to = address || location?.origin;
  if (to === undefined) throw new InvalidRequest("there is no page here to tell the server; name it: http://host:port");
  if (typeof to === "string" && !/^https?:\/\//.test(to))
    throw new InvalidRequest(`${to} is not an address of the web door, which is all that a browser reaches: http://host:port`);
  return new Client(webDoor(to), {
    clock: monotonicClock(),
    pid: undefined,
    environment: undefined,
    // biome-ignore lint/suspicious/noConsole: where a page's warnings go.
    warn: options.warn ?? ((sentence) => console.warn(`sluice: ${sentence}`)),
  });
}
