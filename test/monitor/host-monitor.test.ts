import { afterEach, beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { HostMonitor } from "../../src/monitor/host-monitor.ts";
import type { HostProbe } from "../../src/monitor/host-probe.ts";
import { collector, fakeContext, fakeProbe } from "./fake-context.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function monitorOf(probe: HostProbe, context = fakeContext(["5:5"])) {
  const monitor = new HostMonitor(context, probe);
  onTestFinished(() => monitor.stop());
  return { monitor, context, ...collector() };
}

it("measures the host every two seconds and knows no GPUs", async () => {
  const { monitor, samples, onSample } = monitorOf(fakeProbe());
  const first = await monitor.start(onSample);
  expect(first).toMatchObject({ source: "sys-mon-host", simulated: false, gpus: [], message: "" });
  expect(first.host).toMatchObject({ totalMb: 4000, availableMb: 3000 });
  expect(samples).toEqual([]);
  await vi.advanceTimersByTimeAsync(6100);
  expect(samples).toHaveLength(3);
  expect(monitor.status().healthy).toBe(true);
});

it("measures the process trees that are watched at that moment", async () => {
  const probe = fakeProbe();
  const { monitor, onSample } = monitorOf(probe);
  const first = await monitor.start(onSample);
  expect(probe.asked).toEqual([["5:5"]]);
  expect([...first.treeRam]).toEqual([["5:5", 7]]);
});

it("says what is wrong when the host cannot be measured, and recovers by itself", async () => {
  let recovered = false;
  const missing: HostProbe = {
    async read(trees) {
      const { host, treeRam } = await fakeProbe().read(trees);
      const { availableMb: _, ...rest } = host;
      return { host: recovered ? host : rest, treeRam };
    },
  };
  const { monitor, samples, onSample } = monitorOf(missing);
  const first = await monitor.start(onSample);
  expect(first.message).toMatch(/cannot be measured/);
  expect(monitor.status()).toEqual({ healthy: false, message: first.message });
  recovered = true;
  await vi.advanceTimersByTimeAsync(2100);
  expect(samples.at(-1)?.message).toBe("");
  expect(monitor.status().healthy).toBe(true);
});

it("starts, and goes on, with a probe that breaks its promise and rejects", async () => {
  let broken = true;
  const good = fakeProbe();
  const { monitor, samples, onSample } = monitorOf({
    read: (trees) => (broken ? Promise.reject(new Error("no")) : good.read(trees)),
  });
  const first = await monitor.start(onSample);
  expect(first.host).toBeUndefined();
  expect(first.message).not.toBe("");
  broken = false;
  await vi.advanceTimersByTimeAsync(2100);
  expect(samples.at(-1)?.host?.availableMb).toBe(3000);
});

it("measures soon when somebody waits for it", async () => {
  const { monitor, samples, onSample } = monitorOf(fakeProbe());
  await monitor.start(onSample);
  monitor.refresh();
  await vi.advanceTimersByTimeAsync(150);
  expect(samples).toHaveLength(1);
});

it("does not tell what it was just measuring when it was stopped", async () => {
  const probe = fakeProbe();
  const slow: HostProbe = {
    async read(trees) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return probe.read(trees);
    },
  };
  const { monitor, samples, onSample } = monitorOf(slow);
  const starting = monitor.start(onSample);
  await vi.advanceTimersByTimeAsync(300);
  await starting;
  await vi.advanceTimersByTimeAsync(2100);
  const stopping = monitor.stop();
  await vi.advanceTimersByTimeAsync(1000);
  await stopping;
  expect(probe.asked).toHaveLength(2);
  expect(samples).toEqual([]);
});

it("tells nothing after it was stopped", async () => {
  const { monitor, samples, onSample } = monitorOf(fakeProbe());
  await monitor.start(onSample);
  await monitor.stop();
  await monitor.stop();
  monitor.refresh();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(samples).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});
