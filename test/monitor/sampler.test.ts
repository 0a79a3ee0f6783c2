import { describe, expect, it } from "vitest";
import { Failure } from "../../src/engine/failure.ts";
import type { GpuHealth, MachineSample } from "../../src/engine/sample.ts";
import { Sampler } from "../../src/monitor/sampler.ts";
import type { MonitorStatus, SystemMonitor } from "../../src/monitor/system-monitor.ts";
import { collector, fakeContext } from "./fake-context.ts";

function sampleOf(source: string, message = "", health?: GpuHealth): MachineSample {
  const gpu = {
    uuid: "GPU-0",
    index: 0,
    name: "Card",
    kind: "full",
    healthMessage: "",
    observedAt: 0,
    attribution: false,
  } as const;
  return { source, simulated: false, gpus: health ? [{ ...gpu, health }] : [], treeRam: new Map(), message };
}

/** A monitor that does what the test says. */
class ScriptedMonitor implements SystemMonitor {
  readonly name: string;
  current: MonitorStatus = { healthy: true, message: "well" };
  first: Promise<MachineSample>;
  tell: (sample: MachineSample) => void = () => {
    throw new Error("not started");
  };
  starts = 0;
  stops = 0;
  refreshes = 0;
  ending: Promise<void> = Promise.resolve();

  constructor(name: string, first: Promise<MachineSample> = Promise.resolve(sampleOf(name))) {
    this.name = name;
    this.first = first;
  }

  start(onSample: (sample: MachineSample) => void): Promise<MachineSample> {
    this.starts++;
    this.tell = onSample;
    return this.first;
  }
  refresh(): void {
    this.refreshes++;
  }
  status(): MonitorStatus {
    return this.current;
  }
  stop(): Promise<void> {
    this.stops++;
    return this.ending;
  }
}

function failing(name: string, message: string): ScriptedMonitor {
  const monitor = new ScriptedMonitor(name, Promise.resolve(sampleOf(name, message)));
  monitor.current = { healthy: false, message };
  return monitor;
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const error = await promise.then(
    () => new Error("did not fail"),
    (e: unknown) => e,
  );
  if (error instanceof Failure) return error;
  throw error;
}

async function started(monitor = new ScriptedMonitor("old"), limitMs?: number) {
  const context = fakeContext();
  const sampler = new Sampler(monitor, context.log, limitMs);
  const { samples, onSample } = collector();
  const unsubscribe = sampler.subscribe(onSample);
  await sampler.start();
  return { sampler, old: monitor, samples, unsubscribe, context, sources: () => samples.map((s) => s.source) };
}

describe("the active monitor", () => {
  it("is started once, and its first and later samples are passed on in order", async () => {
    const { sampler, old, samples, sources } = await started();
    await sampler.start();
    expect(old.starts).toBe(1);
    expect(sources()).toEqual(["old"]);
    const second = sampleOf("old", "second");
    old.tell(second);
    expect(samples.at(-1)).toBe(second);
    expect(sampler.latest()).toBe(second);
  });

  it("is started even when it cannot measure, and says so in its status", async () => {
    const { sampler, samples } = await started(failing("sys-mon-nvidia", "nvidia-smi was not found."));
    expect(samples[0]?.message).toBe("nvidia-smi was not found.");
    expect(sampler.status()).toEqual({ name: "sys-mon-nvidia", healthy: false, message: "nvidia-smi was not found." });
  });

  it("has no sample before it is started", () => {
    expect(new Sampler(new ScriptedMonitor("old"), fakeContext().log).latest()).toBeUndefined();
  });

  it("is asked for fresh measurements until the sampler is stopped", async () => {
    const { sampler, old } = await started();
    sampler.refresh();
    expect(old.refreshes).toBe(1);
    await sampler.stop();
    sampler.refresh();
    expect(old.refreshes).toBe(1);
  });
});

describe("subscribers", () => {
  it("are told nothing after they have unsubscribed, each on its own", async () => {
    const { sampler, old, samples, unsubscribe } = await started();
    const again = collector();
    const second = sampler.subscribe(again.onSample);
    unsubscribe();
    unsubscribe();
    old.tell(sampleOf("old"));
    expect(samples).toHaveLength(1);
    expect(again.samples).toHaveLength(1);
    second();
    old.tell(sampleOf("old"));
    expect(again.samples).toHaveLength(1);
  });

  it("are told although another one throws, which is logged", async () => {
    const { sampler, old, context } = await started();
    const after = collector();
    sampler.subscribe(() => {
      throw new Error("reader's mistake");
    });
    sampler.subscribe(after.onSample);
    old.tell(sampleOf("old"));
    expect(after.samples).toHaveLength(1);
    expect(context.logged).toEqual(["A subscriber failed on a sample."]);
  });
});

describe("using another monitor", () => {
  it("switches when it has measured: the old one is ended and its late samples are ignored", async () => {
    const { sampler, old, sources } = await started();
    const next = new ScriptedMonitor("new");
    expect((await sampler.use(next)).source).toBe("new");
    expect(sampler.status().name).toBe("new");
    expect([old.stops, next.stops]).toEqual([1, 0]);
    old.tell(sampleOf("old", "late"));
    expect(sampler.latest()?.source).toBe("new");
    next.tell(sampleOf("new"));
    expect(sources()).toEqual(["old", "new", "new"]);
  });

  it("goes on with the old one until the new one has measured", async () => {
    const { sampler, old, sources } = await started();
    let measured: (sample: MachineSample) => void = () => {};
    const next = new ScriptedMonitor("new", new Promise((resolve) => (measured = resolve)));
    const use = sampler.use(next);
    await Promise.resolve();
    old.tell(sampleOf("old"));
    expect(sources()).toEqual(["old", "old"]);
    expect(sampler.status().name).toBe("old");
    measured(sampleOf("new"));
    await use;
    expect(sources()).toEqual(["old", "old", "new"]);
  });

  it("keeps the old one, with the new one's own words, when the new one cannot measure", async () => {
    const { sampler, old, sources } = await started();
    const bad = failing("gpu1:50051", "The monitor at gpu1:50051 does not answer; check that it runs.");
    const failure = await failureOf(sampler.use(bad));
    expect(failure.reason).toBe("MONITOR_UNAVAILABLE");
    expect(failure.message).toContain("The monitor at gpu1:50051 does not answer; check that it runs.");
    expect([old.stops, bad.stops]).toEqual([0, 1]);
    old.tell(sampleOf("old"));
    expect(sources()).toEqual(["old", "old"]);
    expect(sampler.latest()?.source).toBe("old");
  });

  it("accepts one that answers although one of its GPUs is not well", async () => {
    const { sampler } = await started();
    const partly = new ScriptedMonitor("new", Promise.resolve(sampleOf("new", "One GPU is lost.", "degraded")));
    partly.current = { healthy: false, message: "One GPU is lost." };
    expect((await sampler.use(partly)).source).toBe("new");
  });

  it.each(["lost", "unknown"] as const)(
    "refuses one all of whose GPUs are %s and that is not well by its own word",
    async (health) => {
      const { sampler } = await started();
      const blind = new ScriptedMonitor("new", Promise.resolve(sampleOf("new", "Nothing is known.", health)));
      blind.current = { healthy: false, message: "Nothing is known." };
      expect((await failureOf(sampler.use(blind))).reason).toBe("MONITOR_UNAVAILABLE");
    },
  );

  it("keeps the old one when the new one's start rejects, and does not tell the inner words", async () => {
    const { sampler, old } = await started();
    const broken = new ScriptedMonitor("new", Promise.reject(new Error("secret path")));
    const failure = await failureOf(sampler.use(broken));
    expect(failure.reason).toBe("MONITOR_UNAVAILABLE");
    expect(failure.message).not.toContain("secret");
    expect([old.stops, broken.stops]).toEqual([0, 1]);
  });

  it("gives up on one that never measures", async () => {
    const { sampler } = await started(new ScriptedMonitor("old"), 20);
    const mute = new ScriptedMonitor("new", new Promise(() => {}));
    expect((await failureOf(sampler.use(mute))).message).toContain("in time");
    expect(mute.stops).toBe(1);
    expect((await sampler.use(new ScriptedMonitor("third"))).source).toBe("third");
  });

  it("does not wait for the old one to end, which may hang", async () => {
    const { sampler, old } = await started();
    old.ending = new Promise(() => {});
    expect((await sampler.use(new ScriptedMonitor("new"))).source).toBe("new");
  });

  it("does one change after the other, so that the last one asked for stays", async () => {
    const { sampler } = await started();
    const late = new Promise<MachineSample>((resolve) => setTimeout(() => resolve(sampleOf("a")), 20));
    const all = [new ScriptedMonitor("a", late), failing("b", "no"), new ScriptedMonitor("c")];
    const results = await Promise.allSettled(all.map((m) => sampler.use(m)));
    expect(results.map((r) => r.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(sampler.status().name).toBe("c");
    expect(all.map((m) => m.stops)).toEqual([1, 1, 0]);
  });

  it("takes the newest sample when the new one told more than one before the switch", async () => {
    const { sampler, samples } = await started();
    const next = new ScriptedMonitor("new");
    next.start = (onSample) => {
      onSample(sampleOf("new", "newer"));
      return Promise.resolve(sampleOf("new", "first"));
    };
    expect((await sampler.use(next)).message).toBe("newer");
    expect(samples.at(-1)?.message).toBe("newer");
  });

  it("before the first one was started never starts that one", async () => {
    const first = new ScriptedMonitor("first");
    const next = new ScriptedMonitor("new");
    const sampler = new Sampler(first, fakeContext().log);
    await sampler.use(next);
    await sampler.start();
    expect([first.starts, next.starts]).toEqual([0, 1]);
  });
});

describe("stopping", () => {
  it("ends the active monitor, waits for it, and tells nobody anything afterwards", async () => {
    const { sampler, old, samples } = await started();
    let ended: () => void = () => {};
    old.ending = new Promise((resolve) => (ended = resolve));
    let done = false;
    const stopping = sampler.stop().then(() => (done = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    old.tell(sampleOf("old"));
    expect(samples).toHaveLength(1);
    ended();
    await stopping;
    await sampler.stop();
  });

  it("ends a monitor that is just being tried, whose caller is told that the service shuts down", async () => {
    const { sampler } = await started();
    const mute = new ScriptedMonitor("new", new Promise(() => {}));
    const use = failureOf(sampler.use(mute));
    let ended: () => void = () => {};
    mute.ending = new Promise((resolve) => {
      ended = resolve;
    });
    let done = false;
    await Promise.resolve();
    const stopping = sampler.stop().then(() => {
      done = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect([mute.stops, done]).toEqual([1, false]);
    ended();
    await stopping;
    expect((await use).reason).toBe("DRAINING");
  });

  it("lets nothing be started afterwards", async () => {
    const { sampler } = await started();
    await sampler.stop();
    const late = new ScriptedMonitor("late");
    expect((await failureOf(sampler.use(late))).reason).toBe("DRAINING");
    expect(late.starts).toBe(0);
    const never = new Sampler(new ScriptedMonitor("x"), fakeContext().log);
    await never.stop();
    expect((await failureOf(never.start())).reason).toBe("DRAINING");
  });
});
