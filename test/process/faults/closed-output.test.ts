import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../../src/transport/client.ts";
import { waitFor } from "../../wait-for.ts";
import { allocate, type Scheduler, Waiter } from "../support/scheduler.ts";
import { startServer } from "../support/server.ts";

const main = fileURLToPath(new URL("../../../dist/bin/sluice.js", import.meta.url));

/** Work that writes many lines into the log: grants, ends, and one that waits and leaves. */
async function work(scheduler: Scheduler): Promise<void> {
  for (let i = 0; i < 50; i++) {
    // On a machine that is busy enough the measurements may be too old for a moment, and then nothing is granted.
    const lease = await waitFor(() => allocate(scheduler, 1_000), "a grant");
    await scheduler.releaseLease({ leaseId: lease.id });
  }
  const waiter = new Waiter(scheduler, 8_000);
  await waitFor(() => waiter.lease, "the grant");
  await scheduler.releaseLease({ leaseId: waiter.lease?.id ?? "" });
}

it("whoever reads stdout and stderr goes away while the server logs: it goes on serving, and ends in order", async () => {
  await using server = await startServer(["--simulate", "24576", "--log-level", "trace"]);
  const scheduler = server.client(SchedulerService);
  await work(scheduler);
  expect(server.log().filter((l) => l.decision === "grant").length).toBeGreaterThan(50);
  server.process.process.stdout?.destroy();
  server.process.process.stderr?.destroy();
  await work(scheduler);
  await work(scheduler);
  expect((await fetch(`${server.web}/readyz`)).status).toBe(200);
  expect(server.process.process.exitCode).toBeNull();
  expect(await server.stop()).toBe(0);
});

it.skipIf(!existsSync("/dev/full"))(
  "a log that cannot be written, because the disk is full, stops neither the server nor its end",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-full-"));
    const address = `unix:${join(folder, "grpc.sock")}`;
    const full = openSync("/dev/full", "w");
    const args = ["serve", "--simulate", "24576", "--web", "off", "--grpc", address, "--log-level", "trace"];
    const server = spawn(process.execPath, [main, ...args], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SLUICE_STATE: ":memory:" },
      stdio: ["ignore", full, full],
    });
    const connection = connectClient(address, { timeoutMs: 5_000 });
    try {
      const scheduler = connection.client(SchedulerService);
      await waitFor(() => scheduler.listQueue({}), "it to serve", 20_000);
      await work(scheduler);
      await work(scheduler);
      expect(server.exitCode).toBeNull();
      server.kill("SIGTERM");
      await waitFor(() => server.exitCode !== null || server.signalCode !== null, "its end");
      expect(server.exitCode).toBe(0);
    } finally {
      connection.close();
      server.kill("SIGKILL");
      closeSync(full);
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

it("whoever reads the log stands still without going away: it goes on serving, and its lines are whole", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-still-"));
  const address = `unix:${join(folder, "grpc.sock")}`;
  const args = ["serve", "--simulate", "24576", "--web", "off", "--grpc", address, "--log-level", "trace"];
  const server = spawn(process.execPath, [main, ...args], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, SLUICE_STATE: ":memory:" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  // Nobody reads: 64 KiB are in the pipe, and what Node takes from it unasked.
  server.stderr.pause();
  const connection = connectClient(address, { timeoutMs: 3_000 });
  try {
    const scheduler = connection.client(SchedulerService);
    await waitFor(() => scheduler.listQueue({}), "it to serve", 20_000);
    for (let round = 0; round < 10; round++) await work(scheduler);
    // It is read again, in the end.
    let said = "";
    server.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    server.stderr.resume();
    server.kill("SIGTERM");
    await once(server, "close");
    expect(server.exitCode).toBe(0);
    const lines = said.split("\n").filter((line) => line !== "");
    for (const line of lines) expect(() => JSON.parse(line), line).not.toThrow();
    expect(lines.length).toBeGreaterThan(100);
  } finally {
    connection.close();
    server.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
});
