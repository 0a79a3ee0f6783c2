import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { LeaseState } from "#gen/sluice/v1/types_pb.js";
import { waitFor } from "../../wait-for.ts";
import { gpuWork } from "../support/scheduler.ts";
import { type Server, startProgram, startServer } from "../support/server.ts";
import { main } from "./started-cli.ts";

let server: Server;

beforeAll(async () => {
  server = await startServer(["--simulate", "24576", "--sample-period", "100"]);
});

afterAll(() => server.stop());

/** A shell that evaluates what `sluice env` prints, and then does something. */
function shell(flags: string, then: string, env: Record<string, string> = {}) {
  const script = `eval "$(${process.execPath} ${main} env --address ${server.grpc} ${flags})"; ${then}`;
  return startProgram("sh", ["-c", script], env);
}

async function held() {
  const { leases } = await server.client(SchedulerService).listLeases({});
  return leases.filter((lease) => lease.state !== LeaseState.DRAINING);
}

it("a shell has the lease's environment, holds it while it lives, and gives it back with its end", async () => {
  const sh = shell("--vram 6000 --name notebook", "echo $CUDA_VISIBLE_DEVICES $SLUICE_LEASE_ID; sleep 0.5; exec sleep 30");
  const lease = await waitFor(async () => (await held())[0], "the lease");
  await waitFor(() => sh.out() !== "", "what it found");
  expect(sh.out()).toBe(`${lease.gpus[0]?.uuid} ${lease.id}\n`);
  expect(lease).toMatchObject({ workload: { name: "notebook" }, gpus: [{ vramMb: 6_000 }] });
  const expires = timestampMs((await held())[0]?.expiresAt ?? timestampFromMs(0));
  expect(expires - Date.now()).toBeGreaterThan(86_000_000);
  expect(sh.err()).toContain(`it is given back when process ${sh.pid} ends, or with \`sluice release ${lease.id}\``);
  expect(await held()).toHaveLength(1);
  sh.process.kill("SIGKILL");
  await waitFor(async () => (await held()).length === 0, "its end");
});

it("what is not granted is the status of eval, and changes nothing in the shell", async () => {
  const sh = shell("--vram 30000", 'echo "$? [$SLUICE_LEASE_ID]"');
  await sh.end;
  expect(sh.out()).toBe("75 []\n");
  expect(sh.err()).toContain("can never fit");
  const wrong = shell("--vram many", 'echo "$? [$SLUICE_LEASE_ID]"');
  await wrong.end;
  expect(wrong.out()).toBe("2 []\n");
  const nobody = shell("--vram 10 --address 127.0.0.1:1", 'echo "$?"');
  await nobody.end;
  expect(nobody.out()).toBe("69\n");
  expect(await held()).toEqual([]);
});

// Guards a lease that nobody would give back for a day.
it("a shell that has ended before it got its lease holds nothing", async () => {
  const first = await server.client(SchedulerService).allocate({ workload: gpuWork(20_000) });
  const sh = shell("--vram 6000", "exec sleep 30");
  await waitFor(async () => (await server.client(SchedulerService).listQueue({})).tickets.length === 1, "that it waits");
  sh.process.kill("SIGKILL");
  await waitFor(() => sh.process.signalCode !== null, "its end");
  if (first.outcome.case === "lease") await server.client(SchedulerService).releaseLease({ leaseId: first.outcome.value.id });
  await waitFor(async () => (await server.client(SchedulerService).listQueue({})).tickets.length === 0, "the grant");
  await waitFor(async () => (await held()).length === 0, "that it is given back");
});

// Guards a second lease that would be held for a day, because only the first ends with the shell.
it("a shell that holds one already is told which, and gets no second one", async () => {
  const again = `eval "$(${process.execPath} ${main} env --address ${server.grpc} --vram 100)"; echo "$?"; exec sleep 30`;
  const sh = shell("--vram 6000 --name first", again);
  await waitFor(() => sh.out() !== "", "what eval says of the second");
  const [lease, second] = await held();
  expect([sh.out(), lease?.workload?.name, second]).toEqual(["1\n", "first", undefined]);
  expect(sh.err()).toContain(`already works for ${lease?.id}; a process can work for one lease; release that one first`);
  sh.process.kill("SIGKILL");
  await waitFor(async () => (await held()).length === 0, "its end");
});

// Guards a lease that would end with npx, at once.
it("through npx it asks which shell it is for, and takes the answer", async () => {
  const npx = { npm_command: "exec" };
  const asked = shell("--vram 6000", 'echo "$?"', npx);
  await asked.end;
  expect(asked.out()).toBe("2\n");
  expect(asked.err()).toContain("--pid $$");
  const told = shell("--vram 6000 --pid $$", 'echo "$?"; exec sleep 30', npx);
  const lease = await waitFor(async () => (await held())[0], "the lease");
  expect(lease.gpus).toHaveLength(1);
  told.process.kill("SIGKILL");
  await waitFor(async () => (await held()).length === 0, "its end");
});
