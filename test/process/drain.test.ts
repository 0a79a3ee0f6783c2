import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { Hold } from "#gen/sluice/v1/types_pb.js";
import { waitFor } from "../wait-for.ts";
import { fakeBackend } from "./support/fake-machine.ts";
import { childrenOf } from "./support/machine.ts";
import { detailsOf, gpuWork, Waiter } from "./support/scheduler.ts";
import { type Server, startServer, startSluice } from "./support/server.ts";
import { openSite } from "./support/site.ts";

/** Longer than a shutdown with nothing to wait for takes, much shorter than a grace time of 60 s. */
const soonMs = 5_000;

it("SIGTERM ends those who wait with UNAVAILABLE, DRAINING and a time to retry, and the server with 0 within the grace time", async () => {
  await using server = await startServer(["--simulate", "24576", "--drain-grace", "60"]);
  const scheduler = server.client(SchedulerService);
  await scheduler.allocate({ workload: gpuWork(20_000) });
  const waiters = [new Waiter(scheduler, 8_000), new Waiter(server.connect().client(SchedulerService), 8_000)];
  const watching = (async () => {
    for await (const _ of scheduler.watchQueue({}));
  })();
  const watchEnd = watching.then(
    () => undefined,
    (error: unknown) => error,
  );
  await waitFor(() => waiters.every((w) => w.last === "queued"), "both to wait");

  const told = performance.now();
  server.kill("SIGTERM");
  await Promise.all(waiters.map((w) => w.over));
  for (const { error } of waiters) {
    if (error === undefined) throw new Error("the wait ended without an error");
    expect(error.code).toBe(Code.Unavailable);
    expect(detailsOf(error)).toMatchObject({ reason: "DRAINING", retry: true });
  }
  expect(await watchEnd).toMatchObject({ code: Code.Unavailable });
  expect(await server.process.end).toBe(0);
  expect(performance.now() - told).toBeLessThan(soonMs);
  expect(server.log().filter((l) => l.decision === "withdraw" && l.why === "DRAINING")).toHaveLength(2);
});

it("SIGINT does the same, and what was started for measuring is ended too", async () => {
  await using site = await openSite(fakeBackend, [{ totalMb: 24_576 }]);
  const { server } = site;
  const children = await waitFor(() => {
    const found = childrenOf(server.process.pid);
    return found.length > 0 ? found : undefined;
  }, "nvidia-smi to run");
  server.kill("SIGINT");
  expect(await server.process.end).toBe(0);
  for (const pid of children) expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
});

it("holders that listen to their lease are told to come back too, and do not keep the server", async () => {
  await using server = await startServer(["--simulate", "24576", "--drain-grace", "60"]);
  const scheduler = server.client(SchedulerService);
  const { outcome } = await scheduler.allocate({ workload: gpuWork(1_000) });
  if (outcome.case !== "lease") throw new Error("it was refused");
  const { id: leaseId, token } = outcome.value;
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { event } of scheduler.watchLease({ leaseId, token })) seen.push(event.case ?? "");
  })();
  const end = watching.catch((error: unknown) => ConnectError.from(error));
  const stream = new Waiter(scheduler, 1_000, { hold: Hold.STREAM });
  await waitFor(() => seen.length === 1 && stream.lease !== undefined, "both to listen");
  const told = performance.now();
  server.kill("SIGTERM");
  await stream.over;
  for (const error of [await end, stream.error]) {
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(error && detailsOf(error)).toMatchObject({ reason: "DRAINING", retry: true });
  }
  expect(await server.process.end).toBe(0);
  expect(performance.now() - told).toBeLessThan(soonMs);
});

describe("while an execution is still at work", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-drain-"));
    const command = ["sh", "-c", "sleep {seconds}; echo done"];
    const manifest = { name: "sleep", version: "1", command, mode: "command", resources: {} };
    writeFileSync(join(folder, "sleep.json"), JSON.stringify(manifest));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function serverAtWork(seconds: number) {
    const server = await startServer(["--simulate", "24576", "--drain-grace", "30", "--plugins", folder]);
    const work = server.client(ExecutorService).executePlugin({ plugin: "sleep", arguments: { seconds } });
    const done = work.then(
      () => "done",
      (error: unknown) => ConnectError.from(error).code,
    );
    await waitFor(async () => (await server.client(SchedulerService).listActivePlugins({})).plugins.length === 1, "it to work");
    return { server, done };
  }

  async function tellToStop(server: Server) {
    server.kill("SIGTERM");
    await waitFor(() => server.log().some((l) => l.msg.startsWith("told to stop")), "it to be heard");
  }

  it("new requests are refused with DRAINING, holders can give back what they have, and the work is done", async () => {
    const { server, done } = await serverAtWork(2);
    await using _ = server;
    const scheduler = server.client(SchedulerService);
    const { outcome } = await scheduler.allocate({ workload: gpuWork(1_000) });
    if (outcome.case !== "lease") throw new Error("it was refused");
    await tellToStop(server);
    const refused = new Waiter(scheduler, 1_000);
    await refused.over;
    expect(refused.error && detailsOf(refused.error)).toMatchObject({ reason: "DRAINING", retry: true });
    expect((await fetch(`${server.web}/readyz`)).status).toBe(503);
    await scheduler.releaseLease({ leaseId: outcome.value.id, token: outcome.value.token });
    expect(await done).toBe("done");
    expect(await server.process.end).toBe(0);
  });

  it("a second SIGTERM ends the server at once", async () => {
    const { server, done } = await serverAtWork(10);
    await using _ = server;
    await tellToStop(server);
    const told = performance.now();
    server.kill("SIGTERM");
    expect(await server.process.end).toBe(1);
    expect(performance.now() - told).toBeLessThan(soonMs);
    expect(await done).toBe(Code.Unavailable);
  });
});

it("a port that is in use is told in plain words, and which flag to change", async () => {
  const other = createServer();
  other.listen(0, "127.0.0.1");
  await once(other, "listening");
  const address = other.address();
  const port = typeof address === "object" ? address?.port : 0;
  try {
    for (const door of ["grpc", "web"]) {
      const rest = door === "grpc" ? ["--web", "off"] : ["--grpc", "127.0.0.1:0"];
      const server = startSluice(["serve", "--simulate", "24576", `--${door}`, `127.0.0.1:${port}`, ...rest]);
      expect(await server.end).not.toBe(0);
      expect(server.err()).toContain(`${door}: 127.0.0.1:${port} is in use by another program`);
      expect(server.err()).not.toMatch(/EADDRINUSE|\n {4}at /);
      expect(server.out()).toBe("");
    }
  } finally {
    other.close();
  }
});

it.each([
  ["--grpc", "0.0.0.0:0"],
  ["--grpc", "[::]:0"],
  ["--web", "0.0.0.0:0"],
])("an address that other machines can reach is refused without --insecure: %s %s", async (flag, address) => {
  const other = flag === "--grpc" ? ["--web", "off"] : ["--grpc", "127.0.0.1:0"];
  const server = startSluice(["serve", "--simulate", "24576", flag, address, ...other]);
  expect(await server.end).not.toBe(0);
  expect(server.err()).toContain("--insecure");
  expect(server.err()).not.toMatch(/\n {4}at /);
  expect(server.out()).toBe("");
});

it("a policy that cannot be loaded keeps it from starting, and says why", async () => {
  const server = startSluice([
    "serve",
    "--simulate",
    "24576",
    "--grpc",
    "127.0.0.1:0",
    "--web",
    "off",
    "--policy",
    "./no-such.js",
  ]);
  expect(await server.end).toBe(2);
  expect(server.err()).toMatch(/^sluice: policy: \.\/no-such\.js: could not be loaded/m);
  expect(server.err()).not.toMatch(/\n {4}at /);
});
