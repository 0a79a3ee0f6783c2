import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Code } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { waitFor } from "../wait-for.ts";
import { childrenOf } from "./support/machine.ts";
import { fakeBackend } from "./support/fake-machine.ts";
import { detailsOf, gpuWork, Waiter } from "./support/scheduler.ts";
import { startServer, startSluice } from "./support/server.ts";
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
    return found.length > 0 && found;
  }, "nvidia-smi to run");
  server.kill("SIGINT");
  expect(await server.process.end).toBe(0);
  for (const pid of children) expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
});

it("a second SIGTERM ends it at once", async () => {
  await using server = await startServer(["--simulate", "24576", "--drain-grace", "60"]);
  const scheduler = server.client(SchedulerService);
  const { outcome } = await scheduler.allocate({ workload: gpuWork(1_000) });
  // A client that keeps a call open keeps the server from ending before the grace time has passed.
  const lease = outcome.case === "lease" ? outcome.value : undefined;
  const watching = (async () => {
    for await (const _ of scheduler.watchLease({ leaseId: lease?.id ?? "", token: lease?.token ?? 0n }));
  })();
  const over = watching.catch(() => {});
  await waitFor(async () => (await scheduler.listLeases({})).leases.length === 1, "the lease");
  server.kill("SIGTERM");
  await waitFor(() => server.log().some((l) => l.msg.startsWith("told to stop")), "the first to be heard");
  const told = performance.now();
  server.kill("SIGTERM");
  expect(await server.process.end).toBe(1);
  expect(performance.now() - told).toBeLessThan(soonMs);
  await over;
});

it("new requests are refused while it drains, and holders can still give back what they have", async () => {
  await using server = await startServer(["--simulate", "24576", "--drain-grace", "4"]);
  const scheduler = server.client(SchedulerService);
  const { outcome } = await scheduler.allocate({ workload: gpuWork(1_000) });
  if (outcome.case !== "lease") throw new Error("it was refused");
  const { id: leaseId, token } = outcome.value;
  // Keeps the connection, and so the server, for the whole grace time.
  const watch = (async () => {
    for await (const _ of scheduler.watchLease({ leaseId, token }));
  })().catch(() => {});
  await scheduler.listQueue({});
  server.kill("SIGTERM");
  await waitFor(() => server.log().some((l) => l.msg.startsWith("told to stop")), "it to be heard");
  const refused = new Waiter(scheduler, 1_000);
  await refused.over;
  expect(refused.error?.code).toBe(Code.Unavailable);
  await scheduler.releaseLease({ leaseId, token });
  await watch;
  expect(await server.process.end).toBe(0);
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

it("with --insecure it listens there", async () => {
  await using server = await startServer(["--simulate", "24576", "--grpc", "0.0.0.0:0", "--insecure"]);
  expect(server.grpc).toMatch(/^0\.0\.0\.0:\d+$/);
  const { outcome } = await server.client(SchedulerService).allocate({ workload: gpuWork(1_000) });
  // An address that stands for all interfaces is none to connect to.
  expect(outcome.case === "lease" && outcome.value.env.SLUICE_ADDRESS).toMatch(/^127\.0\.0\.1:\d+$/);
});

it("a policy that cannot be loaded keeps it from starting, and says why", async () => {
  const server = startSluice(["serve", "--simulate", "24576", "--grpc", "127.0.0.1:0", "--web", "off", "--policy", "./no-such.js"]);
  expect(await server.end).toBe(2);
  expect(server.err()).toMatch(/^sluice: policy: \.\/no-such\.js: could not be loaded/m);
  expect(server.err()).not.toMatch(/\n {4}at /);
});

it("when the terminal that it was started in goes away, it shuts down too", async () => {
  // setsid gives it a session of its own, as a terminal would; SIGHUP comes when that is closed.
  await using server = await startServer(["--simulate", "24576"]);
  const hangup = spawn("kill", ["-HUP", `${server.process.pid}`]);
  await once(hangup, "exit");
  const end = await server.process.end;
  expect(["SIGHUP", 0]).toContain(end);
});
