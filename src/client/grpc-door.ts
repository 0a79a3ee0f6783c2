import { Failure } from "../engine/failure.ts";
import { formatAddress, isLocal, parseAddress } from "../transport/address.ts";
import { connectClient } from "../transport/client.ts";
import { InvalidRequest } from "./errors.ts";
import type { Door } from "./ground.ts";

/** The default of other clients, 4 MiB, is less than a long queue with long labels. */
const maxReceiveBytes = 64 * 1024 * 1024;

/**
 * A way over gRPC. Nothing is opened before the first call.
 * @param address `host:port`, `[ipv6]:port` or `unix:/path`.
 * @throws InvalidRequest for an address that is none of these.
 */
export function grpcDoor(address: string, keepaliveMs: number): Door & { readonly isLocal: boolean } {
  try {
    const parsed = parseAddress(address);
    const connection = connectClient(formatAddress(parsed), {
      keepaliveMs,
      maxReceiveBytes,
      maxReconnectPauseMs: 2_000,
    });
    return { ...connection, address, childAddress: address, isLocal: isLocal(parsed) };
  } catch (error) {
    if (error instanceof Failure)
      throw new InvalidRequest(error.message, { reason: error.reason, violations: error.violations });
    throw error;
  }
}
