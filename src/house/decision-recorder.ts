import type { Effect, EngineEvent, Submit } from "../engine/events.ts";
import type { Mib, Millis } from "../engine/sample.ts";
import type { LeaseView, Reason, Workload } from "../engine/types.ts";
import type { GpuAccountView, HostAccountView } from "../engine/views.ts";
import type { MachineLine, RecordedGpu, RecordLine, RequestLine } from "../replay/decision-record.ts";

/** Use by others is written when it has changed by more than this. */
const foreignStepMb: Mib = 256;
/** So long it must stay there before it is believed: memory of a lease that starts or ends can look like it for a moment. */
const foreignSettlesMs: Millis = 1_000;
/** What does not come to rest for so long is written as it is. */
const foreignRestlessMs: Millis = 10_000;
/** Drivers report what they keep with some noise. */
const reserveStepMb: Mib = 16;

interface Foreign {
  /** As it was last written. */
  writtenMb: Mib;
  /** Where it seems to be now, and since when. */
  seenMb: Mib;
  seenSince: Millis;
  /** Since when it is not what was written. */
  differsSince: Millis;
}

/** Turns what the server decides and sees into the lines of a record. */
export class DecisionRecorder {
  readonly #write: (line: RecordLine) => void;
  readonly #defaultTimeoutMs: Millis;
  readonly #gpus = new Map<string, RecordedGpu>();
  readonly #foreign = new Map<string, Foreign>();
  #ram: Pick<MachineLine, "ram_mb" | "ram_margin_mb"> = {};
  /** As it was last written. */
  #machine = "";
  /** The last request that was written. */
  #newest = "";

  /** @param defaultTimeoutMs how long a request waits that does not say. */
  constructor(write: (line: RecordLine) => void, defaultTimeoutMs: Millis) {
    this.#write = write;
    this.#defaultTimeoutMs = defaultTimeoutMs;
  }

  /** @param event what the effect came from. */
  decision(effect: Effect, now: Millis, event: EngineEvent): void {
    const at = Math.round(now);
    switch (effect.type) {
      case "queued":
        if (isNew(event, effect.ticket.id)) this.#request(event, effect.ticket.id, at);
        break;
      case "granted": {
        const { lease } = effect;
        const request = effect.ticketId ?? lease.id;
        if (isNew(event, request)) this.#request(event, request, at);
        this.#write({ type: "grant", at, request, lease: lease.id, policy: lease.policy, on: indexes(lease) });
        break;
      }
      case "refused": {
        const request = effect.ticketId ?? (event.type === "submit" ? idOf(event) : "");
        if (event.type === "submit" && effect.ticketId === undefined) this.#request(event, request, at);
        this.#write({ type: "refuse", at, request, why: codes(effect.refusal.reasons) });
        break;
      }
      case "timed-out":
        this.#write({ type: "time-out", at, request: effect.ticketId, why: codes(effect.reasons) });
        break;
      case "withdrawn":
        this.#write({ type: "withdraw", at, request: effect.ticketId, why: [effect.failure.reason] });
        break;
      case "lease-ended": {
        const { lease, why } = effect;
        this.#write({ type: "end", at, lease: lease.id, why, held_ms: Math.round(now - lease.grantedAt) });
        break;
      }
      default:
        break;
    }
  }

  /** The books after a new measurement. */
  measured(gpus: readonly GpuAccountView[], host: HostAccountView, now: Millis): void {
    const at = Math.round(now);
    this.#learn(gpus, host);
    const machine = { gpus: [...this.#gpus.values()].sort((a, b) => a.index - b.index), ...this.#ram };
    const text = JSON.stringify(machine);
    if (text !== this.#machine) {
      this.#machine = text;
      this.#write({ type: "machine", at, ...machine });
    }
    for (const account of gpus) {
      // Memory that is on its way back from a lease cannot be told from memory of others.
      if (account.foreignMb === undefined || account.drainingMb > 0 || !this.#gpus.has(account.device.uuid)) continue;
      this.#lookAtForeign(account.device.uuid, account.device.index, Math.round(account.foreignMb), at);
    }
  }

  /** Takes what is known now; what is not known at the moment stays what it was. */
  #learn(gpus: readonly GpuAccountView[], host: HostAccountView): void {
    const there = new Set(gpus.map((g) => g.device.uuid));
    for (const uuid of this.#gpus.keys()) if (!there.has(uuid)) this.#gpus.delete(uuid);
    for (const { device, capacityMb } of gpus) {
      const { uuid, index } = device;
      if (device.totalMb === undefined || capacityMb === undefined) continue;
      const totalMb = Math.round(device.totalMb);
      const before = this.#gpus.get(uuid);
      const reserved = Math.round(reserveOf(device));
      const same = before !== undefined && Math.abs(before.reserved_mb - reserved) <= reserveStepMb;
      const reservedMb = same ? before.reserved_mb : reserved;
      const marginMb =
        before !== undefined && same && before.total_mb === totalMb ? before.margin_mb : totalMb - reserved - capacityMb;
      this.#gpus.set(uuid, {
        index,
        uuid,
        total_mb: totalMb,
        reserved_mb: reservedMb,
        margin_mb: Math.max(0, Math.round(marginMb)),
      });
    }
    if (host.totalMb !== undefined) {
      const margin = host.capacityMb === undefined ? 0 : Math.max(0, Math.round(host.totalMb - host.capacityMb));
      this.#ram = { ram_mb: Math.round(host.totalMb), ram_margin_mb: margin };
    }
  }

  #lookAtForeign(uuid: string, gpu: number, usedMb: Mib, at: Millis): void {
    let f = this.#foreign.get(uuid);
    if (f === undefined) {
      f = { writtenMb: 0, seenMb: usedMb, seenSince: at, differsSince: at };
      this.#foreign.set(uuid, f);
    }
    if (Math.abs(usedMb - f.seenMb) > foreignStepMb) {
      f.seenMb = usedMb;
      f.seenSince = at;
    }
    if (Math.abs(usedMb - f.writtenMb) <= foreignStepMb) {
      f.differsSince = at;
      return;
    }
    const rests = at - f.seenSince >= foreignSettlesMs;
    if (!rests && at - f.differsSince < foreignRestlessMs) return;
    f.writtenMb = usedMb;
    f.differsSince = at;
    this.#write({ type: "foreign", at: rests ? f.seenSince : at, gpu, used_mb: usedMb });
  }

  #request(event: Submit, id: string, at: Millis): void {
    // One event can queue a request and decide on it.
    if (id === this.#newest) return;
    this.#newest = id;
    const { workload, mode, policy } = event;
    const timeoutMs = event.timeoutMs ?? this.#defaultTimeoutMs;
    const line: RequestLine = {
      type: "request",
      at,
      id,
      mode,
      ...(mode === "now" || timeoutMs === 0 ? {} : { timeout_ms: Math.ceil(timeoutMs) }),
      policy,
      ...needs(workload),
    };
    this.#write(line);
  }
}

/** True when this request came in with this very event. */
function isNew(event: EngineEvent, request: string): event is Submit {
  return event.type === "submit" && request === idOf(event);
}

/** A ticket and a lease are named after the id of their request. */
function idOf(event: Submit): string {
  return event.mode === "wait" ? `ticket-${event.id}` : `lease-${event.id}`;
}

function needs(w: Workload) {
  const r = w.requirements;
  return {
    name: w.name,
    tenant: w.tenant,
    priority: w.priority,
    ...(w.expectedDurationMs === undefined ? {} : { expected_ms: Math.ceil(w.expectedDurationMs) }),
    gpus: r.gpuCount,
    vram_mb: r.vramMb,
    ram_mb: r.ramMb,
    ...(r.gpuUuids.length === 0 ? {} : { gpu_uuids: r.gpuUuids }),
    ...(r.exclusive ? { exclusive: true as const } : {}),
  };
}

function indexes(lease: LeaseView): readonly number[] {
  return lease.gpus.map((g) => g.index);
}

function codes(reasons: readonly Reason[]): readonly string[] {
  return [...new Set(reasons.map((r) => r.code))];
}

/** Drivers before R510 do not name what they keep: it is what is neither used nor free. */
function reserveOf(device: GpuAccountView["device"]): Mib {
  const { totalMb = 0, reservedMb, usedMb, freeMb } = device;
  if (reservedMb !== undefined) return reservedMb;
  return usedMb === undefined || freeMb === undefined ? 0 : Math.max(0, totalMb - usedMb - freeMb);
}
