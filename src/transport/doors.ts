import { setMaxListeners } from "node:events";
import type { ServiceImplSpec } from "@connectrpc/connect";
import { Health as HealthService } from "#gen/grpc/health/v1/health_pb.js";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { loopbackOnly } from "./address.ts";
import { type Door, type GrpcDoorOptions, openGrpcDoor } from "./grpc.ts";
import { createGuard } from "./guard.ts";
import type { Health } from "./health.ts";
import type { Liveness } from "./http2-side.ts";
import { implement } from "./implement.ts";
import { reflectionServices } from "./reflection.ts";
import { openWebDoor } from "./web.ts";

/** What the doors need. */
export interface DoorsOptions {
  /** The services, each made with implement(). Health and reflection come on top. */
  readonly services: readonly ServiceImplSpec[];
  readonly grpc: Omit<GrpcDoorOptions, "services" | "toError">;
  /** Left out: no web door. */
  readonly web?: { readonly address: string; readonly hosts?: readonly string[]; readonly liveness?: Liveness } | undefined;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  /** Allows addresses that other machines can reach, although nobody is asked who they are. */
  readonly insecure?: boolean;
}

/** The doors, open. */
export interface Doors {
  readonly grpcAddresses: readonly string[];
  readonly webAddress: string | undefined;
  /**
   * Closes the doors in an order that no client is hurt by: health says NOT_SERVING, new calls are refused with DRAINING,
   * those who wait are ended, then the connections. What still runs after `graceMs` is cut off.
   * @param endWaiters ends the waiting streams with UNAVAILABLE "DRAINING".
   */
  drain(graceMs: number, endWaiters: () => Promise<void>): Promise<void>;
}

/**
 * Opens the doors to the services.
 * @throws Failure INVALID_ARGUMENT in plain words for an address that is wrong, taken, or open to other machines.
 */
export async function openDoors(options: DoorsOptions): Promise<Doors> {
  const { log, metrics, health, web } = options;
  const insecure = options.insecure === true;
  for (const address of options.grpc.addresses) loopbackOnly(address, { insecure, field: "grpc" });
  if (web !== undefined) loopbackOnly(web.address, { insecure, field: "web" });

  const guard = createGuard({ log, metrics });
  const drained = new AbortController();
  // Every open reflection stream listens; more than ten of them are no leak.
  setMaxListeners(0, drained.signal);
  const described = [...options.services.map((spec) => spec.service), HealthService];
  const services = [...options.services, implement(HealthService, health)].map(guard.wrap);
  const reflection = reflectionServices(described, drained.signal).map(guard.wrap);

  const open: Door[] = [];
  const closeAll = (graceMs: number) => Promise.all(open.map((door) => door.drain(graceMs)));
  const grpcDoor = await openGrpcDoor({ ...options.grpc, services: [...services, ...reflection], toError: guard.toError });
  open.push(grpcDoor);
  let webDoor: Door | undefined;
  if (web !== undefined) {
    try {
      webDoor = await openWebDoor({ ...web, services: [...services, ...reflection], health, metrics, toError: guard.toError });
    } catch (error) {
      await closeAll(0);
      throw error;
    }
    open.push(webDoor);
  }

  let drain: Promise<void> | undefined;
  async function closeInOrder(graceMs: number, endWaiters: () => Promise<void>): Promise<void> {
    health.drain();
    guard.drain();
    drained.abort();
    const started = performance.now();
    // Waiters that cannot be ended must not keep the server from ending.
    await within(graceMs, endWaiters()).catch((err: unknown) => log.error({ err }, "waiting streams could not be ended"));
    await closeAll(Math.max(0, graceMs - (performance.now() - started)));
  }

  return {
    grpcAddresses: grpcDoor.addresses,
    webAddress: webDoor?.addresses[0],
    drain(graceMs, endWaiters) {
      drain ??= closeInOrder(graceMs, endWaiters);
      return drain;
    },
  };
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
