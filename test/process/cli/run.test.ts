import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import type { ReleaseLeaseRequest, WaitForResourcesRequest } from "#gen/sluice/v1/scheduler_pb.js";
import { LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { Failure } from "../../../src/engine/failure.ts";
import { waitFor } from "../../wait-for.ts";
import { type FakeGate, type GateOptions, startFakeGate } from "./fake-gate.ts";
import { childrenOf, printed, runs, type StartedCli, startCli } from "./started-cli.ts";

let gate: FakeGate;
let cli: StartedCli | undefined;

async function run(options: GateOptions, flags: readonly string[], ...command: readonly string[]): Promise<StartedCli> {
  gate = await startFakeGate(options);
  cli = startCli(["run", "--vram", "6000", "--address", gate.address, ...flags, "--", ...command]);
  return cli;
}

afterEach(() => {
  if (cli !== undefined && cli.process.exitCode === null) cli.process.kill("SIGKILL");
  cli = undefined;
  gate.close();
});

const released = () => gate.requests<ReleaseLeaseRequest>("ReleaseLease");

describe("a command that runs", () => {
  it("gets the lease's environment, has standard output for itself, and its lease is given back", async () => {
    const cli = await run(
      {},
      [],
      "sh",
      "-c",
      "echo $CUDA_VISIBLE_DEVICES $SLUICE_LEASE_ID $SLUICE_LEASE_TOKEN $SLUICE_ADDRESS; echo own >&2",
    );
    expect(await cli.end).toBe(0);
    expect(cli.out()).toBe(`GPU-a lease-1 7 ${gate.address}\n`);
    expect(cli.err()).toBe("own\n");
    expect(gate.names()).toEqual(
      expect.arrayContaining([
        "WaitForResources",
        "StartExecution",
        "AttachProcess",
        "WatchLease",
        "FinishExecution",
        "ReleaseLease",
      ]),
    );
    expect(gate.names().indexOf("StartExecution")).toBeLessThan(gate.names().indexOf("AttachProcess"));
    expect(gate.names().slice(-2)).toEqual(["FinishExecution", "ReleaseLease"]);
    expect(released()).toMatchObject([{ leaseId: "lease-1", token: 7n }]);
  });

  it("is attached by its own pid", async () => {
    const cli = await run({}, [], "sh", "-c", "echo pid $$; sleep 0.2");
    const pid = await printed(cli, "pid");
    await cli.end;
    expect(gate.requests("AttachProcess")).toMatchObject([{ leaseId: "lease-1", token: 7n, pid }]);
  });

  it("runs all the same when the server cannot see its process, and says so only when asked", async () => {
    const attach = () => new Failure("PROCESS_NOT_FOUND", "No process 5 is visible to the server.");
    const quiet = await run({ attach }, [], "true");
    expect([await quiet.end, quiet.err()]).toEqual([0, ""]);
    gate.close();
    const verbose = await run({ attach }, ["--verbose"], "true");
    expect(await verbose.end).toBe(0);
    expect(verbose.err()).toContain("could not attach process");
  });

  it("asks for what the flags say", async () => {
    const flags = [
      "--ram",
      "100",
      "--gpus",
      "2",
      "--gpu",
      "GPU-a",
      "--gpu",
      "GPU-b",
      "--exclusive",
      "--priority",
      "-5",
      "--tenant",
      "t",
      "--name",
      "n",
    ];
    const cli = await run({}, [...flags, "--timeout", "0", "--policy", "safety", "--ttl", "30", "--request-id", "r"], "true");
    await cli.end;
    const [request] = gate.requests<WaitForResourcesRequest>("WaitForResources");
    expect(request).toMatchObject({
      workload: {
        name: "n",
        tenant: "t",
        priority: -5,
        resources: {
          requiresGpu: true,
          minGpuVramMb: 6000,
          minSystemRamMb: 100,
          gpuCount: 2,
          gpuUuids: ["GPU-a", "GPU-b"],
          exclusiveGpu: true,
        },
      },
      requestId: "r",
      policy: "safety",
      timeout: { seconds: 0n, nanos: 0 },
      leaseTtl: { seconds: 30n },
    });
  });

  it("gets its arguments as they are, also those that look like flags of sluice", async () => {
    const cli = await run({}, [], "printf", "%s|", "--vram", "a b", "$HOME", "--", "*");
    await cli.end;
    expect(cli.out()).toBe("--vram|a b|$HOME|--|*|");
  });

  it("can write more to standard error than a pipe holds, also after sluice has written there", async () => {
    // Guards against a shared pipe that is made non-blocking when sluice first speaks: many programs fail on such a one.
    const filling = "read -r go < $FIFO; head -c 3000000 /dev/zero | tr '\\0' x >&2 && echo done";
    const folder = mkdtempSync(join(tmpdir(), "sluice-run-"));
    try {
      const fifo = join(folder, "fifo");
      execFileSync("mkfifo", [fifo]);
      const cli = await run({}, [], "sh", "-c", filling.replace("$FIFO", fifo));
      await waitFor(() => gate.names().includes("WatchLease") && gate.names().includes("AttachProcess"), "the command to run");
      gate.tellHolder({ case: "evictionRequested", value: { reason: "ticket-5 waits" } });
      await waitFor(() => cli.err().includes("ticket-5 waits"), "sluice to write while the command runs");
      cli.process.stderr?.pause();
      writeFileSync(fifo, "go\n");
      await delay(300); // Long enough for the pipe to fill while nobody reads.
      cli.process.stderr?.resume();
      expect(await cli.end).toBe(0);
      expect(cli.out()).toBe("done\n");
      expect(cli.err().length).toBeGreaterThanOrEqual(3_000_000);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the exit code", () => {
  const codes: readonly (readonly [string, readonly string[], number])[] = [
    ["0 of a command that is well", ["true"], 0],
    ["3 of a command that says 3", ["sh", "-c", "exit 3"], 3],
    ["143 of a command that SIGTERM ended", ["sh", "-c", "kill -TERM $$"], 143],
    ["137 of a command that was killed", ["sh", "-c", "kill -KILL $$"], 137],
    ["127 of a command that is not there", ["/nowhere/no-such-command"], 127],
  ];
  for (const [title, command, code] of codes) {
    it(`is ${title}, and the lease is given back`, async () => {
      const cli = await run({}, [], ...command);
      expect(await cli.end).toBe(code);
      expect(cli.out()).toBe("");
      expect(released()).toHaveLength(1);
    });
  }

  it("is 126 for a file that is no program", async () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-run-"));
    try {
      writeFileSync(join(folder, "notes.txt"), "notes");
      chmodSync(join(folder, "notes.txt"), 0o644);
      const cli = await run({}, [], join(folder, "notes.txt"));
      expect(await cli.end).toBe(126);
      expect(cli.err()).toContain("cannot be run");
      expect(released()).toHaveLength(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("is 75 when it is refused, with the reasons and what would fit, and nothing is started", async () => {
    const cli = await run({ outcome: "refuse" }, [], "echo", "started");
    expect(await cli.end).toBe(75);
    expect(cli.out()).toBe("");
    expect(cli.err()).toBe(
      "sluice: refused, and echo was not started\n  - 40000 MiB do not fit on any GPU.\n  The largest of this shape that this machine can hold: 1 GPU with 23000 MiB.\n",
    );
  });

  it("is 75 when it waited as long as allowed, and when the queue is full", async () => {
    const late = await run({ outcome: "time-out" }, [], "echo", "started");
    expect([await late.end, late.out()]).toEqual([75, ""]);
    expect(late.err()).toContain("waited 1m01s in vain");
    expect(late.err()).toContain("GPU 0 is full.");
    gate.close();
    const full = await run({ outcome: "queue-full" }, [], "echo", "started");
    expect([await full.end, full.out(), full.err()]).toEqual([
      75,
      "",
      "sluice: 10000 requests wait already; try again later.\n",
    ]);
  });

  it("is 69 when no server can be reached", async () => {
    gate = await startFakeGate();
    gate.close();
    cli = startCli(["run", "--vram", "1", "--", "echo", "started"], { SLUICE_ADDRESS: gate.address });
    expect([await cli.end, cli.out()]).toEqual([69, ""]);
    expect(cli.err()).toContain(`no server can be reached at ${gate.address}`);
  });
});

describe("the wait", () => {
  it("is told on standard error with place, reason and numbers, and so is its end", async () => {
    const reason = "GPU 0 has 2100 MiB available and 6000 MiB are needed.";
    const cli = await run({ queued: [reason], outcome: "wait" }, [], "echo", "done");
    await waitFor(() => cli.err().includes(reason), "the wait line");
    expect(cli.err()).toBe(`sluice: waiting 0s, place 3 of 7: ${reason}\n`);
    gate.grant();
    expect(await cli.end).toBe(0);
    expect(cli.err()).toBe(`sluice: waiting 0s, place 3 of 7: ${reason}\nsluice: granted GPU 0 (6000 MiB)\n`);
    expect(cli.out()).toBe("done\n");
  });

  it("does not flood a log: changes that follow each other closely make one line", async () => {
    const cli = await run({ queued: ["first", "second", "third"], outcome: "wait" }, [], "true");
    await waitFor(() => cli.err().includes("first"), "the wait line");
    gate.grant();
    await cli.end;
    expect(cli.err().match(/waiting/g)).toHaveLength(1);
  });

  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    it(`is ended by ${signal} with exit code ${code}, and the place in the queue is given up`, async () => {
      const cli = await run({ queued: ["full"], outcome: "wait" }, [], "echo", "started");
      await waitFor(() => cli.err().includes("waiting"), "the wait line");
      cli.process.kill(signal);
      expect([await cli.end, cli.out()]).toEqual([code, ""]);
      await waitFor(() => gate.cancelled === 1, "the server to see that the stream was cancelled");
    });
  }

  it("cancels the ticket too when it has a request id, because the server would keep its place", async () => {
    const cli = await run({ queued: ["full"], outcome: "wait" }, ["--request-id", "r"], "true");
    await waitFor(() => cli.err().includes("waiting"), "the wait line");
    cli.process.kill("SIGTERM");
    expect(await cli.end).toBe(143);
    expect(gate.requests("CancelTicket")).toMatchObject([{ ticketId: "ticket-1" }]);
  });

  it("goes on when the server goes away meanwhile and comes back", async () => {
    const cli = await run({ queued: ["full"], outcome: "drop-once" }, [], "echo", "done");
    expect([await cli.end, cli.out()]).toEqual([0, "done\n"]);
    expect(cli.err().match(/the server is away; asking again/g)).toHaveLength(1);
    expect(gate.requests("WaitForResources")).toHaveLength(2);
  });

  it("is not ended by SIGUSR1, which would make Node open a debugger otherwise", async () => {
    const cli = await run({ queued: ["full"], outcome: "wait" }, [], "true");
    await waitFor(() => cli.err().includes("waiting"), "the wait line");
    cli.process.kill("SIGUSR1");
    gate.grant();
    expect(await cli.end).toBe(0);
    expect(cli.err()).not.toContain("Debugger");
  });
});

describe("signals while the command runs", () => {
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const) {
    it(`${signal} goes to the command, whose answer decides, and the lease is given back`, async () => {
      const name = signal.slice(3);
      const cli = await run(
        {},
        [],
        "sh",
        "-c",
        `trap 'echo got ${name}; exit 9' ${name}; echo ready $$; while :; do sleep 0.05; done`,
      );
      await printed(cli, "ready");
      cli.process.kill(signal);
      expect(await cli.end).toBe(9);
      expect(cli.out()).toMatch(new RegExp(`^ready \\d+\ngot ${name}\n$`));
      expect(cli.err()).toBe("");
      expect(released()).toHaveLength(1);
    });
  }
});

describe("the lease", () => {
  it("is renewed three times in its time to live while the command runs", async () => {
    const cli = await run({ ttlMs: 600 }, [], "sleep", "1.5");
    expect(await cli.end).toBe(0);
    const renewals = gate.requests("RenewLease");
    expect(renewals.length).toBeGreaterThanOrEqual(4);
    expect(renewals[0]).toMatchObject({ leaseId: "lease-1", token: 7n, ttl: { nanos: 600_000_000 } });
  });

  it("that is lost is told once, and the command runs on and decides the exit code", async () => {
    const renewal = () => new Failure("LEASE_EXPIRED", "Lease lease-1 has expired.");
    const cli = await run({ ttlMs: 600, renewal }, [], "sh", "-c", "sleep 1; echo still here; exit 4");
    expect(await cli.end).toBe(4);
    expect(cli.out()).toBe("still here\n");
    expect(cli.err().match(/is lost/g)).toHaveLength(1);
    expect(cli.err()).toContain("Lease lease-1 has expired. The command goes on");
    // It is no longer ours to give back.
    expect(released()).toHaveLength(0);
  });

  it("survives renewals that fail for a while", async () => {
    let failures = 0;
    const renewal = () => (failures++ < 2 ? new ConnectError("busy", Code.Unavailable) : undefined);
    const cli = await run({ ttlMs: 1_500, renewal }, [], "sleep", "2");
    expect(await cli.end).toBe(0);
    expect(cli.err()).toContain("could not be renewed (busy); trying again for 1s");
    expect(cli.err()).toContain("the server is back");
    expect(cli.err()).not.toContain("lost");
    expect(released()).toHaveLength(1);
  });

  it("is given up by the holder no later than its time to live after the last renewal", async () => {
    const renewal = () => new ConnectError("busy", Code.Unavailable);
    const start = performance.now();
    const cli = await run({ ttlMs: 1_000, renewal }, [], "sleep", "2.5");
    await waitFor(() => cli.err().includes("is lost"), "the loss to be told");
    expect(performance.now() - start).toBeLessThan(2_400);
    expect(await cli.end).toBe(0);
  });

  it("that somebody wants back, or took, is told on standard error", async () => {
    const cli = await run({}, [], "sh", "-c", "echo ready $$; sleep 0.7");
    await printed(cli, "ready");
    await waitFor(() => gate.names().includes("WatchLease"), "the watch");
    gate.tellHolder({ case: "evictionRequested", value: { reason: "ticket-5 waits for 4000 MiB" } });
    await waitFor(() => cli.err().includes("asks for this memory back soon: ticket-5 waits for 4000 MiB"), "the request");
    gate.tellHolder({ case: "ended", value: { why: LeaseEnd.RELEASED } });
    await waitFor(() => cli.err().includes("is lost: somebody gave it back"), "the loss");
    expect(await cli.end).toBe(0);
  });

  it("that ended because the command ended is not news", async () => {
    const cli = await run({}, [], "sh", "-c", "echo ready $$; sleep 0.5");
    await printed(cli, "ready");
    await waitFor(() => gate.names().includes("WatchLease"), "the watch");
    gate.tellHolder({ case: "ended", value: { why: LeaseEnd.PROCESS_EXITED } });
    expect(await cli.end).toBe(0);
    expect(cli.err()).toBe("");
  });
});

describe.skipIf(process.platform !== "linux")("when sluice run itself is killed", () => {
  const watchdogOf = (pid: number, command: number) => childrenOf(pid).find((child) => child !== command);

  it("the command and what it started are ended", async () => {
    const cli = await run({}, [], "sh", "-c", "sleep 300 & echo grandchild $!; echo child $$; wait");
    const child = await printed(cli, "child");
    const grandchild = await printed(cli, "grandchild");
    await waitFor(() => gate.names().includes("AttachProcess"), "the attach");
    cli.process.kill("SIGKILL");
    await waitFor(() => !runs(child) && !runs(grandchild), "the command's processes to end", 5_000);
  });

  it("a command that does not listen to SIGTERM is killed 5 s later", async () => {
    const cli = await run({}, [], "sh", "-c", "trap '' TERM; echo child $$; while :; do sleep 0.1; done");
    const child = await printed(cli, "child");
    await waitFor(() => gate.names().includes("AttachProcess"), "the attach");
    const start = performance.now();
    cli.process.kill("SIGKILL");
    await waitFor(() => !runs(child), "the command to be killed", 15_000);
    expect(performance.now() - start).toBeGreaterThan(4_000);
  });

  it("nothing is left behind after a normal end", async () => {
    const cli = await run({}, [], "sh", "-c", "echo child $$; sleep 0.5");
    const child = await printed(cli, "child");
    const watchdog = await waitFor(() => watchdogOf(cli.pid, child), "the watchdog");
    expect(await cli.end).toBe(0);
    await waitFor(() => !runs(watchdog), "the watchdog to end");
  });

  it("a command survives the death of its watchdog", async () => {
    const cli = await run({}, [], "sh", "-c", "echo child $$; sleep 0.7; exit 5");
    const child = await printed(cli, "child");
    const watchdog = await waitFor(() => watchdogOf(cli.pid, child), "the watchdog");
    process.kill(watchdog, "SIGKILL");
    expect(await cli.end).toBe(5);
    expect(released()).toHaveLength(1);
  });
});
