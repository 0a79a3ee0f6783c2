import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type GpuAccount,
  GpuAccountSchema,
  type HostAccount,
  HostAccountSchema,
  type TenantAccount,
  TenantAccountSchema,
  type Ticket,
  TicketSchema,
} from "#gen/sluice/v1/scheduler_pb.js";
import type { TenantView, TicketView } from "../engine/types.ts";
import type { GpuAccountView, HostAccountView } from "../engine/views.ts";
import type { QueueView } from "../gate/gate.ts";
import { leaseToProto } from "./convert-lease.ts";
import { mbToProto, reasonCodeToProto, reasonToProto } from "./convert-reasons.ts";
import { durationToProto, estimateToProto, timestampToProto } from "./convert-time.ts";
import { workloadToProto } from "./convert-workload.ts";

/** The queue, the leases and the books, as ListQueue and WatchQueue send them. Leases come without env: nobody exports it from a listing. */
export function queueToProto(view: QueueView) {
  return {
    tickets: view.tickets.map(ticketToProto),
    leases: view.leases.map((l) => leaseToProto(l, {})),
    gpus: view.gpus.map(gpuAccountToProto),
    host: hostAccountToProto(view.host),
    tenants: view.tenants.map(tenantToProto),
    suspended: view.suspended,
  };
}

function ticketToProto(t: TicketView): Ticket {
  const init: MessageInitShape<typeof TicketSchema> = {
    id: t.id,
    requestId: t.requestId,
    workload: workloadToProto(t.workload),
    position: t.position,
    submittedAt: timestampToProto(t.submittedAt),
    age: durationToProto(t.waitedMs),
    reasons: t.reasons.map(reasonToProto),
    policy: t.policy,
    connected: t.connected,
    overtaken: t.overtaken,
    ...estimateToProto(t),
  };
  if (t.deadline !== undefined) init.deadline = timestampToProto(t.deadline);
  return create(TicketSchema, init);
}

function tenantToProto(t: TenantView): TenantAccount {
  const init: MessageInitShape<typeof TenantAccountSchema> = {
    tenant: t.tenant,
    waiting: t.waiting,
    gpus: t.gpus,
    vramMb: mbToProto(t.vramMb),
    usage: durationToProto(t.usageMs),
  };
  if (t.maxGpus !== undefined) init.maxGpus = t.maxGpus;
  if (t.maxVramMb !== undefined) init.maxVramMb = mbToProto(t.maxVramMb);
  if (t.maxWaiting !== undefined) init.maxWaiting = t.maxWaiting;
  return create(TenantAccountSchema, init);
}

function gpuAccountToProto(a: GpuAccountView): GpuAccount {
  const d = a.device;
  const init: MessageInitShape<typeof GpuAccountSchema> = {
    uuid: d.uuid,
    index: d.index,
    name: d.name,
    outstandingMb: mbToProto(a.outstandingMb),
    claimedMb: mbToProto(a.claimedMb),
    drainingMb: mbToProto(a.drainingMb),
    blocked: a.blocked,
    leaseIds: [...a.leaseIds],
    attributed: d.attribution,
    observedAt: timestampToProto(d.observedAt),
  };
  if (d.totalMb !== undefined) init.totalMb = mbToProto(d.totalMb);
  if (d.usedMb !== undefined) init.usedMb = mbToProto(d.usedMb);
  if (d.freeMb !== undefined) init.freeMb = mbToProto(d.freeMb);
  if (a.capacityMb !== undefined) init.capacityMb = mbToProto(a.capacityMb);
  if (a.foreignMb !== undefined) init.foreignMb = mbToProto(a.foreignMb);
  if (a.availableMb !== undefined) init.availableMb = mbToProto(a.availableMb);
  if (a.blockedCode !== undefined) init.blockedCode = reasonCodeToProto(a.blockedCode);
  return create(GpuAccountSchema, init);
}

function hostAccountToProto(a: HostAccountView): HostAccount {
  const init: MessageInitShape<typeof HostAccountSchema> = {
    outstandingMb: mbToProto(a.outstandingMb),
    claimedMb: mbToProto(a.claimedMb),
  };
  if (a.totalMb !== undefined) init.totalMb = mbToProto(a.totalMb);
  if (a.capacityMb !== undefined) init.capacityMb = mbToProto(a.capacityMb);
  if (a.freeMb !== undefined) init.freeMb = mbToProto(a.freeMb);
  if (a.availableMb !== undefined) init.availableMb = mbToProto(a.availableMb);
  if (a.observedAt !== undefined) init.observedAt = timestampToProto(a.observedAt);
  return create(HostAccountSchema, init);
}
