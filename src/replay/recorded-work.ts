import { maxDurationMs, maxGpus, maxMib, maxPriority } from "../engine/request-limits.ts";
import type { Mib, Millis } from "../engine/sample.ts";
import type { RecordedGpu } from "./decision-record.ts";
import type { ForeignUse, ReplayJob, ReplayMachine, Workbook } from "./job.ts";
import { BadLine, Fields } from "./record-fields.ts";

/** What a record says: the work, and the machine that it came to. */
export interface ReadRecord {
  readonly book: Workbook;
  /** What the server never promised of each GPU, and of the host. */
  readonly marginsMb: readonly Mib[];
  readonly ramMarginMb: Mib;
}

interface Request {
  readonly job: Omit<ReplayJob, "durationMs">;
  readonly mode: "wait" | "now";
  readonly namesGpus: boolean;
}

interface Machine {
  readonly gpus: readonly RecordedGpu[];
  readonly ramMb: Mib;
  readonly ramMarginMb: Mib;
}

type Ended = "refuse" | "time-out" | "withdraw";

/** More than any machine counts to. */
const maxGpuIndex = 1_023;

/** Puts requests, grants and ends together, line by line. */
export class RecordedWork {
  /** Lines that a crash left unfinished before the start of another server. */
  torn = 0;
  readonly #waiting = new Map<string, Request>();
  readonly #running = new Map<string, Request>();
  readonly #jobs: { readonly job: ReplayJob; readonly request: Request }[] = [];
  readonly #foreign: { readonly at: Millis; readonly gpu: number; readonly usedMb: Mib }[] = [];
  readonly #without: Record<Ended, number> = { refuse: 0, "time-out": 0, withdraw: 0 };
  readonly #policies = new Map<string, number>();
  #machine: Machine | undefined;
  #machines = 0;
  #strays = 0;

  get count(): number {
    return this.#jobs.length;
  }

  /** @throws BadLine */
  take(line: Fields): void {
    const type = line.oneOf("type", "start", "machine", "foreign", "request", "grant", "end", "refuse", "time-out", "withdraw");
    const at = line.moment();
    switch (type) {
      case "start":
        break;
      case "machine":
        this.#machine = machineOf(line);
        this.#machines++;
        break;
      case "foreign":
        this.#foreign.push({ at, gpu: line.whole("gpu", 0, maxGpuIndex), usedMb: line.whole("used_mb", 0, maxMib) });
        break;
      case "request":
        this.#waiting.set(line.text("id"), requestOf(line, at));
        break;
      case "grant":
        this.#granted(line);
        break;
      case "end":
        this.#ended(line);
        break;
      default:
        if (this.#waiting.delete(line.text("request"))) this.#without[type]++;
        else this.#strays++;
    }
  }

  #granted(line: Fields): void {
    const id = line.text("request");
    const lease = line.text("lease");
    const policy = line.text("policy");
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (request === undefined) {
      this.#strays++;
      return;
    }
    this.#running.set(lease, request);
    this.#policies.set(policy, (this.#policies.get(policy) ?? 0) + 1);
  }

  #ended(line: Fields): void {
    const lease = line.text("lease");
    const heldMs = line.span("held_ms");
    const request = this.#running.get(lease);
    this.#running.delete(lease);
    if (request === undefined) this.#strays++;
    // What was given back at once has held its memory for a moment all the same.
    else this.#jobs.push({ job: { ...request.job, durationMs: Math.max(1, heldMs) }, request });
  }

  /** @param tornLine the last line, when it is not whole. */
  result(tornLine: number | undefined): ReadRecord {
    const firstAt = this.#jobs.reduce((least, { job }) => Math.min(least, job.arriveMs), Infinity);
    const gpus = this.#machine?.gpus ?? [];
    const place = new Map(gpus.map((gpu, i) => [gpu.index, i]));
    const foreign = this.#foreign
      .flatMap(({ at, gpu, usedMb }): ForeignUse[] => {
        const gpuIndex = place.get(gpu);
        return gpuIndex === undefined ? [] : [{ atMs: Math.max(0, at - firstAt), gpuIndex, usedMb }];
      })
      .sort((a, b) => a.atMs - b.atMs);
    const machine: ReplayMachine = {
      gpus: gpus.map((gpu) => ({ totalMb: gpu.total_mb, reservedMb: gpu.reserved_mb })),
      ramMb: this.#machine?.ramMb ?? 0,
      foreign: this.#jobs.length === 0 ? [] : foreign,
    };
    const jobs = this.#jobs
      .map(({ job }) => ({ ...job, arriveMs: job.arriveMs - firstAt }))
      .sort((a, b) => a.arriveMs - b.arriveMs);
    return {
      book: { machine, jobs, remarks: this.#remarks(tornLine) },
      marginsMb: gpus.map((gpu) => gpu.margin_mb),
      ramMarginMb: this.#machine?.ramMarginMb ?? 0,
    };
  }

  #remarks(tornLine: number | undefined): readonly string[] {
    const remarks: string[] = [];
    const say = (count: number, one: string, many: string) => {
      if (count > 0) remarks.push(count === 1 ? `1 ${one}` : `${count} ${many}`);
    };
    const { refuse, withdraw } = this.#without;
    say(refuse, "request was refused; it is left out", "requests were refused; they are left out");
    say(this.#without["time-out"], "request timed out; it is left out", "requests timed out; they are left out");
    say(withdraw, "request was withdrawn; it is left out", "requests were withdrawn; they are left out");
    say(
      this.#waiting.size,
      "request still waited when the record ended; it is left out",
      "requests still waited when the record ended; they are left out",
    );
    say(
      this.#running.size,
      "lease had not ended when the record or its server did; its job is left out",
      "leases had not ended when the record or their server did; their jobs are left out",
    );
    const requests = this.#jobs.map((job) => job.request);
    say(
      requests.filter((r) => r.mode === "now").length,
      "job was asked for with Allocate, which does not wait; here it waits for ever where it has to",
      "jobs were asked for with Allocate, which does not wait; here they wait for ever where they have to",
    );
    say(
      requests.filter((r) => r.namesGpus).length,
      "job named the GPUs that it could use; here it may use any",
      "jobs named the GPUs that they could use; here they may use any",
    );
    const policies = [...this.#policies].map(([policy, count]) => `${policy} (${count})`);
    if (policies.length > 1)
      remarks.push(`different policies made the grants: ${policies.join(", ")}; here one policy makes all`);
    if (this.#machines > 1)
      remarks.push(`the machine changed while it was recorded; the replay has what it had at the end of the record`);
    say(
      this.#strays,
      "line is about a request or lease that the record does not hold",
      "lines are about requests or leases that the record does not hold",
    );
    say(
      this.torn,
      "line was left unfinished by a server that was killed",
      "lines were left unfinished by servers that were killed",
    );
    if (tornLine !== undefined) remarks.push(`the record is torn at line ${tornLine}; it was read up to there`);
    return remarks;
  }
}

function machineOf(line: Fields): Machine {
  const gpus = line.list("gpus").map((value, i): RecordedGpu => {
    const gpu = new Fields(value, `gpus[${i}]`);
    return {
      index: gpu.whole("index", 0, maxGpuIndex),
      uuid: gpu.text("uuid"),
      total_mb: gpu.whole("total_mb", 0, maxMib),
      reserved_mb: gpu.whole("reserved_mb", 0, maxMib),
      margin_mb: gpu.whole("margin_mb", 0, maxMib),
    };
  });
  if (gpus.length > maxGpus) throw new BadLine(`gpus must have at most ${maxGpus} entries, got ${gpus.length}`);
  return {
    gpus: gpus.sort((a, b) => a.index - b.index),
    ramMb: line.wholeOr("ram_mb", 0, maxMib, 0),
    ramMarginMb: line.wholeOr("ram_margin_mb", 0, maxMib, 0),
  };
}

function requestOf(line: Fields, at: Millis): Request {
  const mode = line.oneOf("mode", "wait", "now");
  const expectedMs = line.wholeOr("expected_ms", 1, maxDurationMs, undefined);
  const timeoutMs = line.wholeOr("timeout_ms", 1, maxDurationMs, undefined);
  const gpuCount = line.whole("gpus", 0, maxGpus);
  const vramMb = line.whole("vram_mb", 0, maxMib);
  line.text("policy");
  const job = {
    id: line.text("id"),
    name: line.text("name"),
    arriveMs: at,
    requirements: {
      gpuCount,
      vramMb,
      ramMb: line.whole("ram_mb", 0, maxMib),
      // GPUs of the replay have other names than those of the machine.
      gpuUuids: [],
      exclusive: line.isTrue("exclusive"),
    },
    tenant: line.text("tenant"),
    priority: line.whole("priority", -maxPriority, maxPriority),
    ...(expectedMs === undefined ? {} : { expectedDurationMs: expectedMs }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  return { job, mode, namesGpus: line.has("gpu_uuids") };
}
