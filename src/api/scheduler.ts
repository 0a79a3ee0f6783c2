import { randomUUID } from "node:crypto";
import type { ServiceImpl } from "@connectrpc/connect";
import type { SchedulerService, SystemMonitor as SystemMonitorProto } from "#gen/sluice/v1/scheduler_pb.js";
import { Failure, type FieldViolation, invalidArgument } from "../engine/failure.ts";
import type { ProcessKey } from "../engine/sample.ts";
import type { Discipline } from "../engine/settings.ts";
import type { LeaseView } from "../engine/types.ts";
import { leaseEnv } from "../gate/lease-env.ts";
import { leaseToProto } from "./convert-lease.ts";
import { queueToProto } from "./convert-queue.ts";
import { largestToProto, reasonToProto, refusalToProto } from "./convert-reasons.ts";
import { workloadFromProto } from "./convert-workload.ts";
import { duration, text, wholeNumber } from "./fields.ts";
import type { SchedulerContext } from "./wait-end.ts";
import { holdFromProto, ttlLimits } from "./wait-request.ts";
import { WaitStream } from "./wait-stream.ts";
import { watchLease, watchQueue } from "./watch.ts";

/** What the scheduler needs of the rest of the house. */
export interface SchedulerDependencies extends SchedulerContext {
  /** Identity of a process that runs here and can be seen; undefined otherwise. */
  processKey(pid: number): ProcessKey | undefined;
  readonly monitors: MonitorChoice;
}

/** Which monitor feeds decisions. */
export interface MonitorChoice {
  /** @throws Failure when the name is not known or the monitor cannot measure; the present one then stays. */
  use(name: string): Promise<void>;
  /** The active one first. */
  list(): readonly { readonly name: string; readonly active: boolean; readonly healthy: boolean; readonly message: string }[];
}

type Scheduler = ServiceImpl<typeof SchedulerService>;

/** SchedulerService: checks what comes in, asks the gate, and says what it answered. */
export function schedulerService(d: SchedulerDependencies): Scheduler {
  return { ...admission(d), ...leases(d), ...executions(d), ...queue(d), ...administration(d) };
}

function admission(d: SchedulerDependencies): Pick<Scheduler, "allocate" | "waitForResources" | "explain"> {
  return {
    async allocate(request) {
      const violations: FieldViolation[] = [];
      const workload = workloadFromProto(request.workload, "workload", violations);
      const requestId = text(request.requestId, "request_id", 128, violations);
      const ttlMs = duration(request.leaseTtl, "lease_ttl", ttlLimits.minMs, ttlLimits.maxMs, violations);
      const policy = text(request.policy, "policy", 128, violations);
      if (holdFromProto(request.hold, violations) === "stream") {
        violations.push({ field: "hold", description: "HOLD_STREAM needs a stream; use WaitForResources" });
      }
      throwIfAny(violations);
      const { reply, saved } = d.gate.submit({
        mode: "now",
        workload,
        requestId,
        policy,
        hold: "ttl",
        ...(ttlMs === undefined ? {} : { ttlMs }),
      });
      await saved;
      switch (reply.type) {
        case "lease":
          return { outcome: { case: "lease", value: granted(d, reply.lease) } };
        case "refused":
          return { outcome: { case: "refusal", value: refusalToProto(reply.refusal) } };
        default:
          throw new Error(`unexpected reply to an allocation: ${reply.type}`);
      }
    },
    waitForResources: (request, ctx) => new WaitStream(d, request, ctx),
    explain(request) {
      const violations: FieldViolation[] = [];
      const workload = workloadFromProto(request.workload, "workload", violations);
      const policy = policyName(d, request.policy, violations);
      throwIfAny(violations);
      const e = d.gate.explain(workload, policy);
      return {
        fitsNow: e.fitsNow,
        gpus: e.gpus.map((g) => ({ uuid: g.uuid, index: g.index, vramMb: g.vramMb })),
        reasons: e.reasons.map(reasonToProto),
        neverFits: e.neverFits,
        policy: e.policy,
        position: e.position,
        wouldEvict: e.victims.map((v) => v.name),
        evictionPlan: e.victims.map((v) => ({
          leaseId: v.leaseId,
          name: v.name,
          gpus: v.gpus.map((g) => ({ gpuUuid: g.uuid, vramMb: g.vramMb })),
          costMs: v.costMs,
          ...(v.ramMb === undefined ? {} : { ramMb: v.ramMb }),
        })),
        ...(e.largestThatFits === undefined ? {} : { largestThatFits: largestToProto(e.largestThatFits) }),
        ...(e.largestNow === undefined ? {} : { largestNow: largestToProto(e.largestNow) }),
      };
    },
  };
}

function leases(
  d: SchedulerDependencies,
): Pick<Scheduler, "renewLease" | "releaseLease" | "getLease" | "listLeases" | "watchLease" | "attachProcess"> {
  const { gate } = d;
  return {
    async renewLease(request) {
      const violations: FieldViolation[] = [];
      const leaseId = idFrom(request.leaseId, "lease_id", violations);
      const token = tokenFrom(request.token, violations);
      const ttlMs = duration(request.ttl, "ttl", ttlLimits.minMs, ttlLimits.maxMs, violations);
      throwIfAny(violations);
      const lease = await gate.promise({ type: "renew", leaseId, token, ...(ttlMs === undefined ? {} : { ttlMs }) });
      return lease === undefined ? {} : { lease: granted(d, lease) };
    },
    async releaseLease(request) {
      const violations: FieldViolation[] = [];
      const leaseId = idFrom(request.leaseId, "lease_id", violations);
      throwIfAny(violations);
      const lease = await gate.accept({ type: "release", leaseId, token: safeToken(request.token) });
      return lease === undefined ? {} : { lease: leaseToProto(lease, {}) };
    },
    getLease(request) {
      const lease = gate.lease(request.leaseId);
      if (lease === undefined) {
        const id = request.leaseId.slice(0, 128);
        throw new Failure("LEASE_EXPIRED", `lease ${id} is not known here`, { lease_id: id });
      }
      return { lease: leaseToProto(lease, {}) };
    },
    listLeases: () => ({ leases: gate.leases().map((l) => leaseToProto(l, {})) }),
    watchLease: (request, ctx) => watchLease(gate, request, ctx),
    async attachProcess(request) {
      const violations: FieldViolation[] = [];
      const leaseId = idFrom(request.leaseId, "lease_id", violations);
      const token = tokenFrom(request.token, violations);
      const pid = wholeNumber(request.pid, "pid", 2, 0x7fff_ffff, violations);
      throwIfAny(violations);
      const process = d.processKey(pid);
      if (process === undefined) {
        throw new Failure(
          "PROCESS_NOT_FOUND",
          `no process ${pid} can be seen by the server; give a pid of the server's own PID namespace`,
          {
            pid: String(pid),
          },
        );
      }
      const lease = await gate.promise({ type: "attach", leaseId, token, process });
      return lease === undefined ? {} : { lease: leaseToProto(lease, {}) };
    },
  };
}

function executions(d: SchedulerDependencies): Pick<Scheduler, "startExecution" | "finishExecution" | "listActivePlugins"> {
  const { gate } = d;
  return {
    async startExecution(request) {
      const violations: FieldViolation[] = [];
      const leaseId = idFrom(request.leaseId, "lease_id", violations);
      const token = tokenFrom(request.token, violations);
      throwIfAny(violations);
      const executionId = `execution-${randomUUID()}`;
      try {
        await gate.promise({ type: "start-execution", leaseId, token, executionId });
      } catch (error) {
        // Nobody has heard of it, so nobody would finish it.
        gate.step({ type: "finish-execution", leaseId, executionId });
        throw error;
      }
      return { executionId };
    },
    async finishExecution(request) {
      const violations: FieldViolation[] = [];
      const leaseId = idFrom(request.leaseId, "lease_id", violations);
      const executionId = idFrom(request.executionId, "execution_id", violations);
      throwIfAny(violations);
      await gate.accept({ type: "finish-execution", leaseId, executionId });
      return {};
    },
    listActivePlugins: () => ({
      plugins: [...gate.executions()]
        .map(([name, count]) => ({ name, executions: count }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    }),
  };
}

function queue(d: SchedulerDependencies): Pick<Scheduler, "listQueue" | "watchQueue" | "cancelTicket"> {
  const { gate } = d;
  return {
    listQueue: () => queueToProto(gate.queue()),
    watchQueue: (_request, ctx) => watchQueue(gate, ctx),
    async cancelTicket(request) {
      const violations: FieldViolation[] = [];
      const ticketId = idFrom(request.ticketId, "ticket_id", violations);
      throwIfAny(violations);
      await gate.accept({ type: "cancel", ticketId });
      return {};
    },
  };
}

function administration(
  d: SchedulerDependencies,
): Pick<Scheduler, "getPolicy" | "setPolicy" | "registerSystemMonitor" | "listSystemMonitors"> {
  const { gate, monitors } = d;
  return {
    getPolicy: () => ({
      policy: gate.policy,
      available: [...gate.policies],
      discipline: gate.discipline,
      availableDisciplines: [...gate.disciplines],
    }),
    setPolicy(request) {
      const violations: FieldViolation[] = [];
      const policy = policyName(d, request.policy, violations);
      const discipline = disciplineFrom(d, request.discipline, violations);
      throwIfAny(violations);
      const { policy: previous, discipline: previousDiscipline } = gate;
      gate.act({ type: "set-policy", policy, ...(discipline === undefined ? {} : { discipline }) });
      return { policy, previous, discipline: gate.discipline, previousDiscipline };
    },
    async registerSystemMonitor(request) {
      const violations: FieldViolation[] = [];
      const name = idFrom(request.name, "name", violations, 256);
      throwIfAny(violations);
      await monitors.use(name);
      const monitor = monitors.list().find((m) => m.active);
      return monitor === undefined ? {} : { monitor: monitorToProto(monitor) };
    },
    listSystemMonitors: () => ({ monitors: monitors.list().map(monitorToProto) }),
  };
}

function monitorToProto(m: ReturnType<MonitorChoice["list"]>[number]): SystemMonitorProto {
  return { $typeName: "sluice.v1.SystemMonitor", name: m.name, active: m.active, healthy: m.healthy, message: m.message };
}

/** A lease as its holder gets it: with what to export. */
function granted(d: SchedulerDependencies, lease: LeaseView) {
  return leaseToProto(lease, leaseEnv(lease, d.address()));
}

function throwIfAny(violations: readonly FieldViolation[]): void {
  if (violations.length > 0) throw invalidArgument(...violations);
}

function idFrom(value: string, field: string, violations: FieldViolation[], maxBytes = 128): string {
  if (value === "") violations.push({ field, description: "is required" });
  return text(value, field, maxBytes, violations);
}

function tokenFrom(value: bigint, violations: FieldViolation[]): number {
  if (value === 0n) violations.push({ field: "token", description: "is required: the token that came with the lease" });
  return safeToken(value);
}

/** Tokens of this server are exact as numbers; a larger one is nobody's, and stays wrong. */
function safeToken(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? -1 : Number(value);
}

function policyName(d: SchedulerDependencies, value: string, violations: FieldViolation[]): string {
  const name = text(value, "policy", 128, violations);
  if (name !== "" && !d.gate.policies.includes(name)) {
    violations.push({ field: "policy", description: `must be one of ${d.gate.policies.join(", ")} or empty` });
  }
  return name;
}

/** Undefined: it stays. */
function disciplineFrom(d: SchedulerDependencies, value: string, violations: FieldViolation[]): Discipline | undefined {
  const known = d.gate.disciplines.find((discipline) => discipline === value);
  if (known === undefined && value !== "") {
    violations.push({ field: "discipline", description: `must be one of ${d.gate.disciplines.join(", ")} or empty` });
  }
  return known;
}
