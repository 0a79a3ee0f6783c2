import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { EngineEvent, Outcome } from "../../src/engine/events.ts";
import { Failure } from "../../src/engine/failure.ts";
import { gpuAccounts, hostAccount } from "../../src/engine/views.ts";
import { DecisionRecorder } from "../../src/house/decision-recorder.ts";
import { openRecord, RecordFile, type RecordSink } from "../../src/house/record-file.ts";
import { createLog, type Log } from "../../src/observe/log.ts";
import type { RecordLine } from "../../src/replay/decision-record.ts";
import { readWork } from "../../src/replay/read-work.ts";
import { readRecord } from "../../src/replay/record-reader.ts";
import type { ReadRecord } from "../../src/replay/recorded-work.ts";
import { Bench, gpu, leaseIn, processes } from "../engine/support.ts";
import { waitFor } from "../wait-for.ts";

const defaultTimeoutMs = 300_000;

/** An engine whose decisions are recorded. */
class RecordedBench extends Bench {
  readonly lines: RecordLine[] = [];
  readonly #recorder = new DecisionRecorder((line) => this.lines.push(line), defaultTimeoutMs);

  override step(event: EngineEvent): Outcome {
    const outcome = super.step(event);
    for (const effect of outcome.effects) this.#recorder.decision(effect, this.now, event);
    if (event.type === "sample") {
      this.#recorder.measured(gpuAccounts(this.state, this.now), hostAccount(this.state, this.now), this.now);
    }
    return outcome;
  }

  of<T extends RecordLine["type"]>(type: T): Extract<RecordLine, { type: T }>[] {
    return this.lines.filter((line): line is Extract<RecordLine, { type: T }> => line.type === type);
  }
}

const text = (lines: readonly unknown[]) => [{ sluice_record: 1 }, ...lines].map((line) => JSON.stringify(line)).join("\n");

function read(content: string): ReadRecord {
  const lines = content.split("\n").map((line, i) => ({ number: i + 1, text: line }));
  return readRecord(lines, "record");
}

describe("what is recorded", () => {
  it("each request that ran is read back as a job with its arrival, the time it held its lease, and what it asked for", () => {
    const bench = new RecordedBench().sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0)]);
    const start = bench.now;
    const first = leaseIn(
      bench.submit(
        "wait",
        { vramMb: 8_000, gpuCount: 2, ramMb: 100 },
        {
          timeoutMs: 60_000,
          workload: { name: "train", tenant: "blue", priority: 3, expectedDurationMs: 5_000 },
        },
      ),
    );
    bench.now += 2_000;
    const second = bench.wait({ vramMb: 9_000, exclusive: true });
    bench.now += 3_000;
    bench.release(first);
    bench.sample([gpu(0, 10_000, 0), gpu(1, 10_000, 0)]);
    const granted = bench.grantOf(second);
    if (granted === undefined) throw new Error("the second was not granted");
    const grantedAt = bench.now;
    bench.now += 7_000;
    bench.release(granted);

    const { book, marginsMb, ramMarginMb } = read(text(bench.lines));
    expect(book.jobs).toEqual([
      {
        id: "ticket-n1",
        name: "train",
        arriveMs: 0,
        durationMs: 5_000,
        requirements: { gpuCount: 2, vramMb: 8_000, ramMb: 100, gpuUuids: [], exclusive: false },
        tenant: "blue",
        priority: 3,
        expectedDurationMs: 5_000,
        timeoutMs: 60_000,
      },
      {
        id: "ticket-n2",
        name: "job",
        arriveMs: 2_000,
        durationMs: bench.now - grantedAt,
        requirements: { gpuCount: 1, vramMb: 9_000, ramMb: 0, gpuUuids: [], exclusive: true },
        tenant: "default",
        priority: 0,
        timeoutMs: defaultTimeoutMs,
      },
    ]);
    expect(bench.of("grant").map((line) => line.on)).toEqual([[0, 1], [0]]);
    expect(bench.of("request")[0]?.at).toBe(start);
    // The machine as it is, and what the server never promises of it: the larger of 2 % and 256 MiB.
    expect(book.machine.gpus).toEqual([
      { totalMb: 10_000, reservedMb: 0 },
      { totalMb: 10_000, reservedMb: 0 },
    ]);
    expect(marginsMb).toEqual([256, 256]);
    expect([book.machine.ramMb, ramMarginMb]).toEqual([65_536, Math.ceil(65_536 * 0.02)]);
    expect(book.remarks).toEqual([]);
  });

  it("a job of Allocate counts too, and it is said that it did not have to wait", () => {
    const bench = new RecordedBench().sample([gpu(0, 10_000, 0)]);
    const lease = bench.lease({ vramMb: 1_000 });
    bench.now += 1_000;
    bench.release(lease);
    const { book } = read(text(bench.lines));
    expect(book.jobs).toMatchObject([{ id: lease.id, durationMs: 1_000 }]);
    expect(book.jobs[0]).not.toHaveProperty("timeoutMs");
    expect(book.remarks).toEqual([
      "1 job was asked for with Allocate, which does not wait; here it waits for ever where it has to",
    ]);
  });

  it("what never ran, or still ran at the end, is left out, counted and said", () => {
    const bench = new RecordedBench().sample([gpu(0, 10_000, 0)]);
    bench.lease({ vramMb: 9_000 });
    bench.allocate({ vramMb: 9_000 });
    bench.submit("wait", { vramMb: 90_000 });
    bench.wait({ vramMb: 9_000 }, { timeoutMs: 1_000 });
    bench.pass(1_001);
    const cancelled = bench.wait({ vramMb: 9_000 });
    bench.step({ type: "cancel", ticketId: cancelled });
    bench.wait({ vramMb: 9_000 });
    const { book } = read(text(bench.lines));
    expect(book.jobs).toEqual([]);
    expect(book.remarks).toEqual([
      "2 requests were refused; they are left out",
      "1 request timed out; it is left out",
      "1 request was withdrawn; it is left out",
      "1 request still waited when the record ended; it is left out",
      "1 lease had not ended when the record or its server did; its job is left out",
    ]);
  });

  it("a request that comes again by its id is one request", () => {
    const bench = new RecordedBench({ maxOvertakes: 0 }).sample([gpu(0, 10_000, 0)]);
    bench.lease({ vramMb: 9_000 });
    const ask = { requestId: "once" };
    bench.submit("wait", { vramMb: 9_000 }, ask);
    bench.submit("wait", { vramMb: 9_000 }, ask);
    expect(bench.of("request")).toHaveLength(2);
  });

  it("grants by different policies are said, as one policy makes them all in a replay", () => {
    const bench = new RecordedBench().sample([gpu(0, 10_000, 0)]);
    for (const policy of ["safety", "permissive"]) bench.release(leaseIn(bench.allocate({ vramMb: 100 }, { policy })));
    expect(read(text(bench.lines)).book.remarks).toContain(
      "different policies made the grants: safety (1), permissive (1); here one policy makes all",
    );
  });
});

describe("the machine in a record", () => {
  it("is written once, and again only when it changes; figures that are missing for a while change nothing", () => {
    const bench = new RecordedBench();
    const { totalMb: _, ...unknown } = gpu(0, 10_000, 0);
    bench
      .sample([gpu(0, 10_000, 0, { reservedMb: 300 })])
      .sample([gpu(0, 10_000, 0, { reservedMb: 310 })])
      .sample([{ ...unknown, health: "lost" }])
      .sample([gpu(0, 10_000, 0, { reservedMb: 300 })]);
    expect(bench.of("machine")).toHaveLength(1);
    bench.sample([gpu(0, 10_000, 0, { reservedMb: 300 }), gpu(1, 24_000, 0)]);
    expect(bench.of("machine").map((line) => line.gpus.map((g) => [g.index, g.total_mb, g.reserved_mb, g.margin_mb]))).toEqual([
      [[0, 10_000, 300, 256]],
      [
        [0, 10_000, 300, 256],
        [1, 24_000, 0, 480],
      ],
    ]);
    const read_ = read(text([...bench.lines, ...oneJob]));
    expect(read_.book.machine.gpus).toHaveLength(2);
    expect(read_.book.remarks[0]).toContain("the machine changed while it was recorded");
  });

  const oneJob = [
    {
      type: "request",
      at: 5_000,
      id: "t",
      mode: "wait",
      policy: "",
      name: "n",
      tenant: "d",
      priority: 0,
      gpus: 1,
      vram_mb: 1,
      ram_mb: 0,
    },
    { type: "grant", at: 6_000, request: "t", lease: "l", policy: "queue", on: [0] },
    { type: "end", at: 9_000, lease: "l", why: "released", held_ms: 3_000 },
  ];

  it("memory of others is written when it has changed by more than 256 MiB and stayed so for a second", () => {
    const bench = new RecordedBench();
    const at = (ms: number, usedMb: number) => {
      bench.now = ms;
      bench.sample([gpu(0, 10_000, usedMb)]);
    };
    at(1_000, 0);
    at(2_000, 250);
    at(3_000, 5_000);
    at(3_500, 250);
    at(4_000, 250);
    at(5_000, 5_000);
    expect(bench.of("foreign")).toEqual([]);
    at(6_100, 5_100);
    expect(bench.of("foreign")).toEqual([{ type: "foreign", at: 5_002, gpu: 0, used_mb: 5_100 }]);
    at(8_000, 5_300);
    at(9_000, 100);
    at(10_100, 0);
    expect(bench.of("foreign").map((line) => line.used_mb)).toEqual([5_100, 0]);
    // Moment 0 of a replay is the first arrival; what was there before is there from the beginning.
    expect(read(text([...bench.lines, ...oneJob])).book.machine.foreign).toEqual([
      { atMs: 2, gpuIndex: 0, usedMb: 5_100 },
      { atMs: 4_002, gpuIndex: 0, usedMb: 0 },
    ]);
  });

  it("memory of others that never comes to rest is written all the same after a while", () => {
    const bench = new RecordedBench();
    for (let s = 0; s <= 30; s++) {
      bench.now = s * 1_000;
      bench.sample([gpu(0, 100_000, s * 1_000)]);
    }
    expect(bench.of("foreign").length).toBeGreaterThanOrEqual(2);
    expect(bench.of("foreign").length).toBeLessThanOrEqual(3);
  });

  it("memory that a lease gives back is not taken for memory of others", () => {
    const bench = new RecordedBench().sample([gpu(0, 10_000, 0)]);
    const lease = bench.lease({ vramMb: 8_000 });
    bench.attach(lease, "1:1");
    for (let i = 0; i < 2; i++) {
      bench.now += 2_000;
      const list = processes(bench.now + 1, { pid: 1, gpu: "GPU-0", usedMb: 8_000 });
      bench.sample([gpu(0, 10_000, 8_000)], { processes: list });
    }
    bench.release(lease);
    for (let i = 0; i < 3; i++) {
      bench.now += 1_100;
      bench.sample([gpu(0, 10_000, 8_000)]);
    }
    expect(bench.of("foreign")).toEqual([]);
  });
});

describe("reading a record", () => {
  const request = (id: string, at: number) => ({
    type: "request",
    at,
    id,
    mode: "wait",
    policy: "",
    name: "n",
    tenant: "d",
    priority: 0,
    gpus: 1,
    vram_mb: 1,
    ram_mb: 0,
  });
  const ran = (id: string, at: number) => [
    request(id, at),
    { type: "grant", at, request: id, lease: `l-${id}`, policy: "queue", on: [0] },
    { type: "end", at: at + 50, lease: `l-${id}`, why: "released", held_ms: 50 },
  ];

  it("that is torn at its end reads it up to there, and says so", () => {
    const whole = text(ran("a", 0));
    const torn = `${whole}\n${JSON.stringify(request("b", 9)).slice(0, 40)}`;
    const { book } = read(torn);
    expect(book.jobs).toHaveLength(1);
    expect(book.remarks).toEqual(["the record is torn at line 5; it was read up to there"]);
  });

  it("passes over a line that a killed server left unfinished, when another has started after it", () => {
    const { book } = read(
      `${text(ran("a", 0))}\n{"type":"gra\n{"type":"start","at":100}\n${ran("b", 200)
        .map((l) => JSON.stringify(l))
        .join("\n")}\n`,
    );
    expect(book.jobs.map((j) => [j.id, j.arriveMs])).toEqual([
      ["a", 0],
      ["b", 200],
    ]);
    expect(book.remarks).toEqual(["1 line was left unfinished by a server that was killed"]);
  });

  it.each([
    [
      "an unfinished line in its midst",
      `${text([])}\n{"type":"gra\n${JSON.stringify(request("b", 1))}`,
      /line 2: it is not whole/,
    ],
    ["another version", '{"sluice_record":2}', /is a record of version 2, and this sluice reads version 1/],
    ["something else", '{"a":1}', /line 1: .* does not begin a record of sluice/],
    ["an unknown kind of line", text([{ type: "dance", at: 1 }]), /line 2: type must be one of .*, got "dance"/],
    [
      "a moment that is none",
      text([{ type: "start", at: "noon" }]),
      /line 2: at must be a whole number from 0 to \d+, got "noon"/,
    ],
    [
      "a number beyond its limit",
      text([{ ...request("a", 1), gpus: 65 }]),
      /line 2: gpus must be a whole number from 0 to 64, got 65/,
    ],
    [
      "a GPU without memory",
      text([{ type: "machine", at: 1, gpus: [{ index: 0, uuid: "u" }] }]),
      /line 2: gpus\[0\]\.total_mb must be/,
    ],
    ["a list for a line", text([[1]]), /line 2: it must be a JSON object/],
  ])("%s is an error that names the line", (_, content, words) => {
    expect(() => read(content)).toThrow(Failure);
    expect(() => read(content)).toThrow(words);
  });

  it("lines about requests that it does not hold are counted and said", () => {
    const { book } = read(text([...ran("a", 0), { type: "end", at: 1, lease: "x", why: "released", held_ms: 1 }]));
    expect(book.remarks).toEqual(["1 line is about a request or lease that the record does not hold"]);
  });
});

describe("the file of a record", () => {
  let folder: string;
  let path: string;
  let logged: string[];
  let log: Log;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-record-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeEach(() => {
    path = join(folder, `${Math.floor(performance.now() * 1000)}.jsonl`);
    logged = [];
    log = createLog({ destination: { write: (line: string) => void logged.push(line) } });
  });
  const start = (at: number): RecordLine => ({ type: "start", at });

  it("is made readable by its owner only, keeps the order of lines, and is added to by the next server", async () => {
    for (const life of [0, 1]) {
      const file = await openRecord(path, log);
      for (let i = 0; i < 1_000; i++) file.write(start(life * 1_000 + i));
      await file.close();
    }
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const lines = readFileSync(path, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toEqual([{ sluice_record: 1 }, ...Array.from({ length: 2_000 }, (_, i) => start(i))]);
    expect(logged).toEqual([]);
  });

  it("of a server that was killed goes on on a line of its own", async () => {
    writeFileSync(path, '{"sluice_record":1}\n{"type":"requ');
    const file = await openRecord(path, log);
    file.write(start(5));
    await file.close();
    expect(readFileSync(path, "utf8")).toBe('{"sluice_record":1}\n{"type":"requ\n{"type":"start","at":5}\n');
    const work = readWork(path);
    expect(work.kind === "record" && work.book.remarks).toEqual(["1 line was left unfinished by a server that was killed"]);
  });

  it.each([
    ["another file", "id,arrive_s\n", /holds something else than a record of sluice/],
    ["a record of another version", '{"sluice_record":2}\n', /is a record of version 2, and this is version 1/],
  ])("%s is refused, and left as it is", async (_, content, words) => {
    writeFileSync(path, content);
    await expect(openRecord(path, log)).rejects.toThrow(words);
    await expect(openRecord(path, log)).rejects.toThrow(/^--record: /);
    expect(readFileSync(path, "utf8")).toBe(content);
  });

  it("in a folder that is not there, a folder, and a device are refused by name", async () => {
    for (const [bad, words] of [
      [join(folder, "none", "x"), /ENOENT/],
      [folder, /EISDIR/],
      ["/dev/null", /it is not a file/],
    ] as const) {
      await expect(openRecord(bad, log)).rejects.toThrow(words);
    }
    expect(existsSync(join(folder, "none"))).toBe(false);
  });

  /** Guards serving: a full disk must cost the record, never the server. */
  it("that cannot be written any more is said once, and everything goes on", async () => {
    let closed = 0;
    const full: RecordSink = {
      appendFile: () => Promise.reject(new Error("ENOSPC: no space left on device, write")),
      close: async () => void closed++,
    };
    const file = new RecordFile("full.jsonl", full, log);
    file.write(start(1));
    await waitFor(() => closed === 1, "the record to be given up");
    for (let i = 0; i < 100; i++) file.write(start(i));
    await file.close();
    expect(closed).toBe(1);
    expect(logged).toHaveLength(1);
    expect(JSON.parse(logged[0] ?? "")).toMatchObject({
      record: "full.jsonl",
      msg: expect.stringContaining("recording stopped"),
      err: { message: expect.stringContaining("ENOSPC") },
    });
  });

  /** Guards memory: a disk that hangs must not make the server grow without bound. */
  it("on a disk that hangs keeps a bounded number of lines, then gives up", async () => {
    let release = () => {};
    const hung = new Promise<void>((resolve) => {
      release = resolve;
    });
    const written: string[] = [];
    const file = new RecordFile(
      "slow.jsonl",
      { appendFile: (t) => hung.then(() => void written.push(t)), close: async () => {} },
      log,
    );
    const line = start(1_234_567_890_123);
    for (let i = 0; i < 400_000; i++) file.write(line);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain("does not keep up");
    release();
    await file.close();
    expect(written).toEqual([`${JSON.stringify(line)}\n`]);
  });
});
