// A client in a process of its own, to be killed, frozen and woken: asks for a lease, keeps it alive, and says what happens, one
// line of JSON each. When its lease is gone it tries everything else that takes its token.
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../../dist/transport/client.js";

const {
  address,
  vramMb,
  ttlMs,
  renewMs = 0,
  attach = false,
  requestId = "",
  hold = 0,
  name = "client",
} = JSON.parse(process.argv[2]);
const say = (event, more = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
const reasonOf = (error) => ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason ?? String(error);

const scheduler = connectClient(address, { timeoutMs: 10_000 }).client(SchedulerService);
const workload = { name, resources: { requiresGpu: true, minGpuVramMb: vramMb, gpuCount: 1 } };
const request = { workload, requestId, hold, timeout: durationFromMs(0), leaseTtl: durationFromMs(ttlMs), policy: "queue" };

let lease;
try {
  for await (const { ticketId, event } of scheduler.waitForResources(request)) {
    if (event.case === "granted") {
      lease = event.value.lease;
      if (attach) await scheduler.attachProcess({ leaseId: lease.id, token: lease.token, pid: process.pid });
      say("granted", { leaseId: lease.id, token: `${lease.token}` });
    } else say(event.case, { ticketId, position: event.value.position });
  }
} catch (error) {
  say("failed", { reason: reasonOf(error) });
}

const outcome = (call) => call.then(() => "ok", reasonOf);
setInterval(() => {}, 1_000);
while (lease !== undefined && renewMs > 0) {
  await new Promise((resolve) => setTimeout(resolve, renewMs));
  const key = { leaseId: lease.id, token: lease.token };
  const renew = await outcome(scheduler.renewLease(key));
  if (renew === "ok") continue;
  const startExecution = await outcome(scheduler.startExecution(key));
  const attached = await outcome(scheduler.attachProcess({ ...key, pid: process.pid }));
  say("lost", { renew, startExecution, attach: attached });
  lease = undefined;
}
