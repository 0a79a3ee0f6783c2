import type { GpuKind, GpuSample, Mib, Millis } from "../../engine/sample.ts";
import type { GpuRow } from "./gpu-row.ts";
import type { IdentifiedRow, Inventory } from "./inventory.ts";
import { isUnified, type Judgement, judge, plausible, resetAdvice, wantsReset, xmlMayTell } from "./judgement.ts";
import { type Listing, samePciBusId, type UnreadableGpu } from "./listing.ts";
import { type MigDevice, migDevicesOf, partitionOf } from "./mig.ts";
import type { XmlGpu, XmlLog } from "./query-xml.ts";

/** What stays true of a GPU while it is not measured. */
export interface Facts {
  readonly uuid: string;
  readonly index: number;
  readonly name: string;
  readonly kind: GpuKind;
  readonly poolId?: string;
  readonly parentUuid?: string;
  readonly pciBusId?: string;
  /** Capacity, from the last time it was told. */
  readonly totalMb?: Mib;
  readonly reservedMb?: Mib;
}

type Figures = Pick<GpuRow, "usedMb" | "freeMb" | "loadPercent" | "temperatureC" | "powerW" | "computeMode">;

interface Entry {
  facts: Facts;
  judgement: Judgement;
  /** Empty unless health is `ok` or `degraded`: an old figure must not be taken for a new one. */
  figures: Figures;
  observedAt: Millis;
  /** What only an inventory sees (name, pending MIG mode) and finds wrong; the stream does not ask for it. */
  caution: string | undefined;
  /** Why a fresh nvidia-smi cannot reach it; stronger than a loop that was started earlier and still prints numbers. */
  unreachable: string | undefined;
  /** A MIG device that its administrator has unmade: it stays `lost`, and nobody needs to be told or to look for it. */
  retired: boolean;
}

interface Parent {
  readonly index: number;
  readonly pciBusId: string | undefined;
  readonly partition: string;
}

/** A row of the stream with the earliest moment that its figures may be from. */
export interface TimedRow {
  readonly row: GpuRow;
  readonly observedAt: Millis;
}

/**
 * Every GPU that was ever seen, and how it is now. One that is no longer told about is never dropped and never free: it becomes
 * `lost` or `unknown`. The exception is a GPU in MIG mode, which its devices stand for.
 */
export class GpuFleet {
  readonly #entries = new Map<string, Entry>();
  readonly #parents = new Map<string, Parent>();
  readonly #devices = new Map<string, string>();

  /** Takes in which GPUs there are. */
  applyInventory(inventory: Inventory): void {
    const seen = new Set<string>();
    const physical = new Set(inventory.rows.map((row) => row.uuid));
    this.#parents.clear();
    this.#devices.clear();
    for (const row of inventory.rows) {
      const xml = inventory.log?.gpus.find((gpu) => gpu.uuid === row.uuid);
      if (row.migCurrent === "Enabled") {
        this.#entries.delete(row.uuid);
        if (xml) this.#parents.set(row.uuid, { index: row.index, pciBusId: row.pciBusId, partition: partitionOf(xml) });
        if (xml) for (const device of this.#applyMig(row.uuid, xml, inventory.listing, inventory.observedAt)) seen.add(device);
      } else {
        seen.add(row.uuid);
        this.#applyFull(xml && inventory.needsXml ? withXml(row, xml) : { ...row, ...addressing(xml) }, inventory.observedAt);
      }
    }
    const unreadable = [...inventory.unreadable];
    for (const entry of this.#entries.values()) {
      if (seen.has(entry.facts.uuid)) continue;
      const at = unreadable.findIndex((gpu) => isSame(gpu, entry.facts));
      const [sentence] = at >= 0 ? unreadable.splice(at, 1) : [];
      entry.unreachable = sentence ? unreadableMessage(sentence) : missingMessage(entry.facts, physical);
      entry.retired = !sentence && entry.facts.parentUuid !== undefined && physical.has(entry.facts.parentUuid);
    }
    for (const gpu of unreadable) this.#addUnreadable(gpu, inventory.observedAt);
    // A stand-in for a GPU that could not be identified goes as soon as the GPU has a name again.
    for (const [key, entry] of this.#entries) {
      if (!key.startsWith(standIn)) continue;
      const answers = [...this.#entries.values()].some(
        (other) => seen.has(other.facts.uuid) && isSameFacts(entry.facts, other.facts),
      );
      if (answers) this.#entries.delete(key);
    }
  }

  /** Takes in rows of the stream. `strange` when a GPU is new or has turned to MIG: time for an inventory. */
  applyRows(rows: ReadonlyMap<string, TimedRow>): { readonly strange: boolean } {
    let strange = false;
    for (const [uuid, { row, observedAt }] of rows) {
      const entry = this.#entries.get(uuid);
      if (!entry || row.migCurrent === "Enabled") strange = true;
      if (entry) this.#measure(entry, row, observedAt);
    }
    return { strange };
  }

  /** Takes in a `-q -x` of a machine with MIG. `strange` when it does not fit the last inventory. */
  applyXml(log: XmlLog, listing: Listing | undefined, observedAt: Millis): { readonly strange: boolean } {
    let strange = !log.complete;
    const told = new Set<string>();
    for (const gpu of log.gpus) {
      const parent = this.#parents.get(gpu.uuid);
      const entry = this.#entries.get(gpu.uuid);
      if (parent && gpu.migCurrent !== "Disabled" && parent.partition === partitionOf(gpu)) {
        for (const uuid of this.#applyMig(gpu.uuid, gpu, listing, observedAt)) told.add(uuid);
      } else if (entry && gpu.migCurrent !== "Enabled") {
        told.add(gpu.uuid);
        this.#measure(entry, withXml({ uuid: gpu.uuid, index: entry.facts.index, words: {} }, gpu), observedAt);
      } else {
        strange = true;
      }
    }
    for (const entry of this.#entries.values()) {
      if (!told.has(entry.facts.uuid) && entry.unreachable === undefined) {
        strange = true;
        forget(entry, "is missing in the driver's answer");
      }
    }
    return { strange };
  }

  /** These GPUs had no row in a round of the stream that is over. */
  silent(uuids: Iterable<string>): void {
    for (const uuid of uuids) {
      const entry = this.#entries.get(uuid);
      if (entry) forget(entry, "has fallen silent while the others are still measured");
    }
  }

  /** Nothing is known any more about any GPU. */
  blind(message: string): void {
    for (const entry of this.#entries.values()) forget(entry, message);
  }

  /** The oldest moment that a memory figure may be from, over all GPUs that have one. */
  get figuresFrom(): Millis {
    let from = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries.values()) {
      if (entry.unreachable === undefined && entry.judgement.health === "ok") from = Math.min(from, entry.observedAt);
    }
    return from;
  }

  /** @param attributes whether memory per process can be believed: for the physical GPU and what is used on it. */
  samples(attributes: (gpu: Facts, usedMb: Mib | undefined) => boolean): GpuSample[] {
    const samples: GpuSample[] = [];
    for (const { facts, judgement, figures, observedAt, unreachable } of this.#entries.values()) {
      const here = unreachable === undefined;
      samples.push({
        ...facts,
        ...(here ? figures : {}),
        health: here ? judgement.health : "lost",
        healthMessage: here ? judgement.message : unreachable,
        observedAt,
        attribution: here && judgement.health === "ok" && attributes(facts, figures.usedMb),
      });
    }
    return samples.sort((a, b) => a.index - b.index || (a.uuid < b.uuid ? -1 : 1));
  }

  /** What is wrong, a sentence for each GPU that is not well. */
  get complaints(): string[] {
    const complaints: string[] = [];
    for (const { facts, judgement, unreachable, retired } of this.#entries.values()) {
      if (retired || (unreachable === undefined && judgement.health === "ok")) continue;
      complaints.push(`GPU ${facts.index} (${facts.uuid}) ${unreachable ?? judgement.message}.`);
    }
    for (const index of this.#unpartitioned) complaints.push(`GPU ${index} is in MIG mode and has no MIG device; create one.`);
    return complaints;
  }

  /** True while some GPU does not answer: it is worth looking more often whether it is back. */
  get missing(): boolean {
    return [...this.#entries.values()].some(
      ({ judgement, unreachable, retired }) =>
        !retired && (unreachable !== undefined || judgement.health === "lost" || judgement.health === "unknown"),
    );
  }

  /** GPUs in MIG mode on which no device has been made: nothing stands for them in the samples. */
  get #unpartitioned(): readonly number[] {
    const used = new Set([...this.#entries.values()].map((entry) => entry.facts.parentUuid));
    return [...this.#parents].filter(([uuid]) => !used.has(uuid)).map(([, parent]) => parent.index);
  }

  /** The MIG device on which a process of the given instances runs; undefined when it cannot be told. */
  migDevice(parentUuid: string, gpuInstanceId: number | undefined, computeInstanceId: number | undefined): string | undefined {
    return this.#devices.get(`${parentUuid}/${gpuInstanceId}/${computeInstanceId ?? 0}`);
  }

  #applyFull(row: IdentifiedRow, observedAt: Millis): void {
    const unified = isUnified(row);
    const facts: Facts = {
      uuid: row.uuid,
      index: row.index,
      name: row.name ?? "",
      kind: unified ? "unified" : "full",
      ...(row.pciBusId === undefined ? {} : { pciBusId: row.pciBusId }),
    };
    const entry = this.#entry(facts, observedAt);
    const changing = row.migPending !== undefined && row.migPending !== row.migCurrent;
    entry.caution = row.words.name !== undefined || changing ? judge(row, unified).message : undefined;
    this.#measure(entry, row, observedAt);
  }

  #applyMig(parentUuid: string, gpu: XmlGpu, listing: Listing | undefined, observedAt: Millis): string[] {
    const parent = this.#parents.get(parentUuid);
    const told: string[] = [];
    for (const device of migDevicesOf(gpu, listing).devices) {
      told.push(device.uuid);
      this.#devices.set(`${parentUuid}/${device.gpuInstanceId}/${device.computeInstanceId}`, device.uuid);
      const facts: Facts = {
        uuid: device.uuid,
        index: parent?.index ?? 0,
        name: device.name,
        kind: "mig",
        poolId: device.poolId,
        parentUuid,
        ...(gpu.pciBusId === undefined ? {} : { pciBusId: gpu.pciBusId }),
      };
      this.#measureMig(this.#entry(facts, observedAt), device, gpu, observedAt);
    }
    return told;
  }

  /** The entry of a GPU that is there; what was known of its capacity is kept. */
  #entry(facts: Facts, observedAt: Millis): Entry {
    const known = this.#entries.get(facts.uuid);
    if (known) {
      known.facts = { ...capacityOf(known.facts), ...facts };
      known.unreachable = undefined;
      known.retired = false;
      return known;
    }
    const entry: Entry = {
      facts,
      judgement: { health: "unknown", message: "not measured yet" },
      figures: {},
      observedAt,
      caution: undefined,
      unreachable: undefined,
      retired: false,
    };
    this.#entries.set(facts.uuid, entry);
    return entry;
  }

  #measure(entry: Entry, row: GpuRow, observedAt: Millis): void {
    // An inventory takes long, and a round of the stream that began later may have come before its end.
    if (observedAt < entry.observedAt) return;
    const unified = entry.facts.kind === "unified";
    const judged = judge(row, unified);
    const judgement: Judgement =
      judged.health === "ok" && entry.caution ? { health: "degraded", message: entry.caution } : judged;
    entry.judgement = judgement;
    entry.observedAt = observedAt;
    if (judgement.health === "lost") {
      entry.figures = {};
      return;
    }
    if (!unified) entry.facts = { ...entry.facts, ...capacityOf(row) };
    entry.figures = {
      ...(unified || row.usedMb === undefined ? {} : { usedMb: row.usedMb }),
      ...(unified || row.freeMb === undefined ? {} : { freeMb: row.freeMb }),
      ...(row.loadPercent === undefined ? {} : { loadPercent: row.loadPercent }),
      ...(row.temperatureC === undefined ? {} : { temperatureC: row.temperatureC }),
      ...(row.powerW === undefined ? {} : { powerW: row.powerW }),
      ...(row.computeMode === undefined ? {} : { computeMode: row.computeMode }),
    };
  }

  #measureMig(entry: Entry, device: MigDevice, gpu: XmlGpu, observedAt: Millis): void {
    const { totalMb, reservedMb, usedMb, freeMb } = device.memory;
    const changing = gpu.migPending !== undefined && gpu.migPending !== gpu.migCurrent;
    entry.judgement = changing
      ? { health: "degraded", message: `is about to go: its GPU's MIG mode changes to ${gpu.migPending} at the next reset` }
      : plausible(totalMb, reservedMb, usedMb, freeMb);
    entry.observedAt = observedAt;
    entry.facts = { ...entry.facts, ...capacityOf(device.memory) };
    entry.figures = {
      ...(usedMb === undefined ? {} : { usedMb }),
      ...(freeMb === undefined ? {} : { freeMb }),
      ...(gpu.temperatureC === undefined ? {} : { temperatureC: gpu.temperatureC }),
      ...(gpu.computeMode === undefined ? {} : { computeMode: gpu.computeMode }),
    };
  }

  #addUnreadable(gpu: UnreadableGpu, observedAt: Millis): void {
    for (const parent of this.#parents.values()) {
      if (parent.pciBusId !== undefined && gpu.pciBusId !== undefined && samePciBusId(parent.pciBusId, gpu.pciBusId)) return;
    }
    const uuid = `${standIn}${gpu.pciBusId ?? `index-${gpu.index}`}`;
    const facts: Facts = {
      uuid,
      index: gpu.index,
      name: "",
      kind: "full",
      ...(gpu.pciBusId === undefined ? {} : { pciBusId: gpu.pciBusId }),
    };
    this.#entry(facts, observedAt).unreachable = unreadableMessage(gpu);
  }
}

/** Begins the id of a GPU that was never well enough to tell its uuid. */
const standIn = "unreadable-";

function forget(entry: Entry, message: string): void {
  entry.judgement = { health: "unknown", message };
  entry.figures = {};
}

function capacityOf(from: { readonly totalMb?: Mib; readonly reservedMb?: Mib }): Pick<Facts, "totalMb" | "reservedMb"> {
  return {
    ...(from.totalMb === undefined ? {} : { totalMb: from.totalMb }),
    ...(from.reservedMb === undefined ? {} : { reservedMb: from.reservedMb }),
  };
}

function isSame(gpu: UnreadableGpu, facts: Facts): boolean {
  return gpu.pciBusId !== undefined && facts.pciBusId !== undefined
    ? samePciBusId(gpu.pciBusId, facts.pciBusId)
    : gpu.index === facts.index;
}

function isSameFacts(a: Facts, b: Facts): boolean {
  return a.pciBusId !== undefined && b.pciBusId !== undefined ? samePciBusId(a.pciBusId, b.pciBusId) : a.index === b.index;
}

function unreadableMessage(gpu: UnreadableGpu): string {
  return `${wantsReset(gpu.sentence) ? resetAdvice : "cannot be opened"}: "${gpu.sentence}"`;
}

function missingMessage(facts: Facts, physical: ReadonlySet<string>): string {
  if (facts.parentUuid !== undefined && physical.has(facts.parentUuid)) return "no longer exists: its GPU was partitioned anew";
  return "is no longer listed by nvidia-smi: it is gone, or this user may no longer open it";
}

function addressing(gpu: XmlGpu | undefined): { addressingMode?: string } {
  return gpu?.addressingMode === undefined ? {} : { addressingMode: gpu.addressingMode };
}

/** The row with what XML tells where CSV printed words. */
function withXml<R extends GpuRow>(row: R, gpu: XmlGpu): R {
  const { memory } = gpu;
  const words = { ...row.words };
  if (memory.totalMb !== undefined && xmlMayTell(words["memory.total"])) delete words["memory.total"];
  if (memory.usedMb !== undefined && xmlMayTell(words["memory.used"])) delete words["memory.used"];
  if (memory.freeMb !== undefined && xmlMayTell(words["memory.free"])) delete words["memory.free"];
  return {
    ...row,
    ...memory,
    ...addressing(gpu),
    ...(gpu.loadPercent === undefined ? {} : { loadPercent: gpu.loadPercent }),
    ...(gpu.temperatureC === undefined ? {} : { temperatureC: gpu.temperatureC }),
    ...(gpu.powerW === undefined ? {} : { powerW: gpu.powerW }),
    ...(gpu.computeMode === undefined ? {} : { computeMode: gpu.computeMode }),
    ...(gpu.migCurrent === undefined ? {} : { migCurrent: gpu.migCurrent }),
    ...(gpu.migPending === undefined ? {} : { migPending: gpu.migPending }),
    words,
  };
}
