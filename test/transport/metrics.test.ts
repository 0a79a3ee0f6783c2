import { Writable } from "node:stream";
import { beforeEach, describe, expect, it } from "vitest";
import { createLog } from "../../src/observe/log.ts";
import { createMetrics, type Figures, type Metrics } from "../../src/observe/metrics.ts";

const figures: Figures = {
  queued: 3,
  leases: 2,
  gpus: [{ uuid: "GPU-a", index: 0, freeMib: 1000, availableMib: 900, leasedMib: 0, foreignMib: 5 }],
  sampleAgeSeconds: 0.5,
  monitorHealthy: true,
  suspended: false,
};

describe("metrics", () => {
  let metrics: Metrics;

  beforeEach(() => {
    metrics = createMetrics({ processMetrics: false });
  });

  it("gauges are what the books say at the moment of the scrape", async () => {
    let now = figures;
    metrics.collect(() => now);
    expect(await metrics.scrape()).toContain("sluice_queue_depth 3\n");
    now = { ...figures, queued: 0, monitorHealthy: false, suspended: true };
    const text = await metrics.scrape();
    expect(text).toContain("sluice_queue_depth 0\n");
    expect(text).toContain("sluice_leases 2\n");
    expect(text).toContain("sluice_sample_age_seconds 0.5\n");
    expect(text).toContain("sluice_monitor_healthy 0\n");
    expect(text).toContain("sluice_suspended 1\n");
    expect(text).toContain('sluice_gpu_free_mib{gpu_uuid="GPU-a",gpu="0"} 1000\n');
    expect(text).toContain('sluice_gpu_available_mib{gpu_uuid="GPU-a",gpu="0"} 900\n');
    expect(text).toContain('sluice_gpu_leased_mib{gpu_uuid="GPU-a",gpu="0"} 0\n');
    expect(text).toContain('sluice_gpu_foreign_mib{gpu_uuid="GPU-a",gpu="0"} 5\n');
  });

  it("a number that is not known, or not known any more, is absent and not 0 or what it last was", async () => {
    const samples = (text: string) => text.split("\n").filter((line) => /^sluice_(gpu|sample|queue|monitor)/.test(line));
    expect(samples(await metrics.scrape())).toEqual([]);
    let now = figures;
    metrics.collect(() => now);
    await metrics.scrape();
    now = {
      queued: 0,
      leases: 0,
      gpus: [{ uuid: "GPU-b", index: 1, freeMib: undefined }],
      monitorHealthy: false,
      suspended: false,
    };
    expect(samples(await metrics.scrape())).toEqual(["sluice_queue_depth 0", "sluice_monitor_healthy 0"]);
  });

  it("a write of the state is one observation, however much it was of", async () => {
    metrics.stateWritten(0.002);
    metrics.stateWritten(3);
    const text = await metrics.scrape();
    expect(text).toContain("sluice_state_write_seconds_count 2\n");
    expect(text).toContain('sluice_state_write_seconds_bucket{le="0.0025"} 1\n');
  });

  it("decisions are counted by their reason, and durations have buckets from under a millisecond to half an hour", async () => {
    metrics.decision("refused", "NEVER_FITS");
    metrics.decision("refused", "NEVER_FITS");
    metrics.decision("granted", "");
    metrics.rpc("s/M").done("OK", 0.0004);
    metrics.rpc("s/M").done("OK", 1000);
    const text = await metrics.scrape();
    expect(text).toContain('sluice_decisions_total{decision="refused",reason="NEVER_FITS"} 2\n');
    expect(text).toContain('sluice_decisions_total{decision="granted",reason=""} 1\n');
    expect(text).toContain('sluice_rpc_duration_seconds_bucket{le="0.0005",rpc="s/M"} 1\n');
    expect(text).toContain('sluice_rpc_duration_seconds_bucket{le="300",rpc="s/M"} 1\n');
    expect(text).toContain('sluice_rpc_duration_seconds_bucket{le="1800",rpc="s/M"} 2\n');
    expect(text).toContain('sluice_rpc_calls_total{rpc="s/M",code="OK"} 2\n');
  });

  it("every metric has a name with sluice_ and a help text, and two servers in one process do not mix", async () => {
    const other = createMetrics({ processMetrics: false });
    other.decision("granted", "");
    for (const metric of await metrics.registry.getMetricsAsJSON()) {
      expect(metric.name).toMatch(/^sluice_[a-z_]+$/);
      expect(metric.help).toMatch(/\.$/);
    }
    expect(await metrics.scrape()).not.toContain('decision="granted"');
    expect(await createMetrics().scrape()).toContain("process_resident_memory_bytes");
  });
});

describe("the log", () => {
  it("is one JSON object a line with time and level, and nothing below its level", () => {
    const lines: string[] = [];
    const log = createLog({ level: "warn", destination: { write: (line) => void lines.push(line) } });
    log.info("not this");
    log.warn({ lease_id: "l1" }, "this");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/\n$/);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: 40,
      lease_id: "l1",
      msg: "this",
      pid: process.pid,
      time: expect.stringMatching(/^\d{4}-/),
    });
  });

  it("takes any stream, such as a file", async () => {
    const chunks: string[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        chunks.push(String(chunk));
        done();
      },
    });
    createLog({ destination: stream }).error({ err: new Error("boom") }, "failed");
    expect(JSON.parse(chunks.join(""))).toMatchObject({
      msg: "failed",
      err: { message: "boom", stack: expect.stringContaining("boom") },
    });
  });
});
