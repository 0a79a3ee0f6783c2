import { durationMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { TenantAccount, Ticket } from "#gen/sluice/v1/scheduler_pb.js";
import { lasting, reasonsText } from "./describe-work.ts";
import { orDash, roughly, table } from "./text.ts";

/** The table of tickets. */
export function ticketsTable(tickets: readonly Ticket[]): string {
  return table(
    [
      { title: "PLACE", right: true, cell: (ticket) => String(ticket.position) },
      { title: "TICKET", cell: (ticket) => ticket.id },
      { title: "NAME", cell: (ticket) => orDash(ticket.workload?.name ?? "") },
      { title: "TENANT", cell: (ticket) => orDash(ticket.workload?.tenant ?? "") },
      { title: "PRIO", right: true, cell: (ticket) => String(ticket.workload?.priority ?? 0) },
      { title: "GPUS", right: true, cell: (ticket) => String(gpusOf(ticket)) },
      {
        title: "VRAM MiB",
        right: true,
        cell: (ticket) => (gpusOf(ticket) === 0 ? "-" : String(ticket.workload?.resources?.minGpuVramMb ?? 0)),
      },
      { title: "RAM MiB", right: true, cell: (ticket) => String(ticket.workload?.resources?.minSystemRamMb ?? 0) },
      { title: "WAITED", right: true, cell: (ticket) => lasting(ticket.age) },
      { title: "STARTS IN", cell: startsIn },
      { title: "POLICY", cell: (ticket) => `${orDash(ticket.policy)}${ticket.connected ? "" : " (away)"}` },
      { title: "WHY", cell: (ticket) => orDash(reasonsText(ticket.reasons)) },
    ],
    tickets,
  );
}

/** What each tenant has, waits for and may have: "2 of 4" where there is a limit. */
export function tenantsTable(tenants: readonly TenantAccount[]): string {
  return table(
    [
      { title: "TENANT", cell: (tenant) => tenant.tenant },
      { title: "WAITING", right: true, cell: (tenant) => withLimit(tenant.waiting, tenant.maxWaiting) },
      { title: "GPUS", right: true, cell: (tenant) => withLimit(tenant.gpus, tenant.maxGpus) },
      { title: "VRAM MiB", right: true, cell: (tenant) => withLimit(tenant.vramMb, tenant.maxVramMb) },
      { title: "USED", right: true, cell: (tenant) => lasting(tenant.usage) },
    ],
    tenants,
  );
}

/** "~ 3 min" is what is expected, "≤ 5 min" an upper bound. */
function startsIn(ticket: Ticket): string {
  const parts: string[] = [];
  const expected = untilBy(ticket, ticket.expectedStart);
  const latest = untilBy(ticket, ticket.eta);
  if (expected !== undefined) parts.push(`~ ${roughly(expected)}`);
  if (latest !== undefined) parts.push(`≤ ${roughly(latest, Math.ceil)}`);
  return parts.join(", ") || "-";
}

/** By the clock of the server, which may not be that of this machine: it said when the ticket came and how long ago that was. */
function untilBy(ticket: Ticket, moment: Timestamp | undefined): number | undefined {
  if (moment === undefined || ticket.submittedAt === undefined || ticket.age === undefined) return undefined;
  return timestampMs(moment) - timestampMs(ticket.submittedAt) - durationMs(ticket.age);
}

function withLimit(value: number, limit: number | undefined): string {
  return limit === undefined ? String(value) : `${value} of ${limit}`;
}

function gpusOf(ticket: Ticket): number {
  const resources = ticket.workload?.resources;
  return resources?.requiresGpu === true ? resources.gpuCount || 1 : 0;
}
