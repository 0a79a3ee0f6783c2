import { isIP, isIPv6 } from "node:net";
import { invalidArgument } from "../engine/failure.ts";

/** Where a door is: a TCP port of a host (a name, an IPv4 or an IPv6 address without brackets), or a Unix socket. */
export type Address =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/**
 * Reads `host:port`, `[ipv6]:port` or `unix:/path`.
 * @param field named in the failure: the flag or field that the address came from.
 * @throws Failure INVALID_ARGUMENT for anything else.
 */
export function parseAddress(text: string, field = "address"): Address {
  if (text.startsWith("unix:")) {
    // unix:///path is the same as unix:/path to gRPC clients.
    const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "" || path.includes("\0"))
      throw invalidArgument({ field, description: 'a Unix socket is written "unix:/path/to/socket"' });
    return { kind: "unix", path };
  }
  const match = /^(?:\[([^[\]]*)\]|([^[\]:\s]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535 || (match?.[1] !== undefined && !isIPv6(host))) {
    throw invalidArgument({
      field,
      description: 'must be "host:port", "[ipv6]:port" or "unix:/path", with a port from 0 to 65535',
    });
  }
  return { kind: "tcp", host, port };
}

/** Writes an address the way parseAddress reads it and the way gRPC clients take it. */
export function formatAddress(address: Address): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `${hostInUrl(address.host)}:${address.port}`;
}

/** A host as URLs write it: IPv6 addresses in brackets. */
export function hostInUrl(host: string): string {
  // No name has a colon. Node's own check would first compile an expression, for 20 ms of a start.
  return host.includes(":") ? `[${host}]` : host;
}

/**
 * True when only programs on this machine can reach the address. Names other than localhost are not looked up: what they
 * mean may change after the check, so they count as reachable from elsewhere.
 */
export function isLocal(address: Address): boolean {
  if (address.kind === "unix") return true;
  const host = address.host.toLowerCase();
  if (host === "localhost") return true;
  switch (isIP(host)) {
    case 4:
      return host.startsWith("127.");
    case 6: {
      // URL writes every spelling of an IPv6 address in one form, so ::1 and 0:0:0:0:0:0:0:1 compare equal. It takes no zone.
      const canonical = new URL(`http://[${host.replace(/%.*/, "")}]`).hostname;
      return canonical === "[::1]" || /^\[::ffff:7f[0-9a-f]{2}:/.test(canonical);
    }
    default:
      return false;
  }
}

/**
 * Refuses a door that other machines could reach, because nobody is asked who they are there.
 * @throws Failure INVALID_ARGUMENT in plain words.
 */
export function loopbackOnly(text: string, options: { readonly insecure?: boolean; readonly field?: string } = {}): void {
  const field = options.field ?? "address";
  if (options.insecure === true || isLocal(parseAddress(text, field))) return;
  throw invalidArgument({
    field,
    description:
      `${text} can be reached from other machines, and there is neither encryption nor a login on it. Use 127.0.0.1, [::1] or unix:/path; ` +
      "if every machine on that network may use this one, start with --insecure",
  });
}
