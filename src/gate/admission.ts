import { randomUUID } from "node:crypto";
import { Failure } from "../engine/failure.ts";
import type { ProcessKey } from "../engine/sample.ts";
import type { LeaseView } from "../engine/types.ts";
import type { Admission, AdmissionRequest, Admitted, QueuePlace } from "../executor/admission.ts";
import type { WaitEnd } from "./audience.ts";
import type { Gate } from "./gate.ts";
import { leaseEnv } from "./lease-env.ts";
import type { LeaseMemory } from "./lease-memory.ts";
import type { Seat } from "./seat.ts";

export interface AdmissionOptions {
  readonly gate: Gate;
  address(): string;
  processKey(pid: number): ProcessKey | undefined;
  readonly memory: LeaseMemory;
}

/** The executor's way to the gate: inside the same process, so its leases need no renewal and end when it says so. */
export function executorAdmission({ gate, address, processKey, memory }: AdmissionOptions): Admission {
  const granted = (lease: LeaseView): Admitted => ({ kind: "granted", lease, env: leaseEnv(lease, address()) });
  return {
    async admit(request, signal, onQueued) {
      signal.throwIfAborted();
      // Its leases end with the server: there is nothing to be written down.
      const { reply } = gate.submit(submitOf(gate, request));
      switch (reply.type) {
        case "lease":
          return granted(reply.lease);
        case "refused":
          return { kind: "refused", refusal: reply.refusal };
        case "ticket": {
          const lease = await waitFor(gate, reply.ticketId, signal, onQueued);
          return "kind" in lease ? lease : granted(lease);
        }
        default:
          throw new Error(`unexpected reply to an admission: ${reply.type}`);
      }
    },
    startExecution(leaseId, token) {
      const executionId = `execution-${randomUUID()}`;
      gate.act({ type: "start-execution", leaseId, token, executionId });
      return executionId;
    },
    finishExecution(leaseId, executionId) {
      gate.step({ type: "finish-execution", leaseId, executionId });
    },
    attachProcess(leaseId, token, pid) {
      const process = processKey(pid);
      if (process === undefined) return false;
      return gate.step({ type: "attach", leaseId, token, process }).reply.type !== "failure";
    },
    release(leaseId, token) {
      gate.step({ type: "release", leaseId, token });
    },
    keep(leaseId, token, { pinned, ready, reloadMs, minResidenceMs }) {
      const keeping = { holder: "worker" as const, pinned, ready, reloadMs };
      gate.act({
        type: "keep",
        leaseId,
        token,
        keeping: minResidenceMs === undefined ? keeping : { ...keeping, minResidenceMs },
      });
    },
    onLease: (leaseId, on) => gate.onLease(leaseId, on),
    giveBack(leaseId, token) {
      gate.act({ type: "give-back", leaseId, token });
    },
    refill(leaseId, token, policy) {
      const { reply } = gate.step({ type: "refill", leaseId, token, policy });
      if (reply.type === "failure") throw reply.failure;
      return reply.type === "refused" ? reply.refusal : undefined;
    },
    lease: (leaseId) => gate.lease(leaseId),
    watchMemory: (leaseId, onGrowth) => memory.watch(leaseId, onGrowth),
    ceiling: () => gate.ceiling(),
  };
}

/**
 * An execution does what Allocate does, unless a policy that waits decides about it: the request's, or the server's. Then it
 * waits like WaitForResources.
 */
function submitOf(gate: Gate, request: AdmissionRequest) {
  const policy = request.policy || gate.policy || "permissive";
  return {
    mode: "wait" as const,
    workload: {
      name: request.name,
      requirements: request.requirements,
      tenant: request.tenant,
      priority: request.priority,
      ...(request.importance === 0 ? {} : { importance: request.importance }),
      labels: {},
    },
    requestId: "",
    policy,
    hold: "stream" as const,
    ...(request.timeoutMs === undefined ? {} : { timeoutMs: request.timeoutMs }),
  };
}

async function waitFor(
  gate: Gate,
  ticketId: string,
  signal: AbortSignal,
  onQueued: (place: QueuePlace) => void,
): Promise<LeaseView | Admitted> {
  const seat = gate.watchTicket(ticketId, { hasNews: (changed) => changed });
  const leave = () => seat.leave();
  signal.addEventListener("abort", leave);
  let told = "";
  try {
    for (;;) {
      const ticket = gate.ticket(ticketId);
      if (ticket !== undefined) {
        const place = { position: ticket.position, reasons: ticket.reasons };
        const key = JSON.stringify(place);
        if (key !== told) onQueued(place);
        told = key;
      }
      if ((await seat.next()) === "closed") return endOf(seat);
      signal.throwIfAborted();
    }
  } catch (error) {
    // Granted in the very moment that the caller went away: nobody will use it.
    const last = seat.last;
    if (last?.type === "granted") gate.step({ type: "release", leaseId: last.lease.id, token: 0 });
    throw error;
  } finally {
    signal.removeEventListener("abort", leave);
    gate.leaveTicket(ticketId, seat);
  }
}

function endOf(seat: Seat<WaitEnd>): LeaseView | Admitted {
  const end = seat.last;
  switch (end?.type) {
    case "granted":
      return end.lease;
    case "refused":
      return { kind: "refused", refusal: end.refusal };
    case "timed-out":
      return { kind: "timed-out", refusal: { reasons: end.reasons } };
    case "failed":
      throw end.failure;
    default:
      throw new Failure("TICKET_CANCELLED", "the wait ended without a decision");
  }
}
