// A crowd of clients in one process: many streams that wait on one connection. Says "waiting" when each has been told its place, and
// goes as it is told: "cancel" calls everything off, "leave" ends in the middle of asking, "stay" waits to be killed.
import { setMaxListeners } from "node:events";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../../dist/transport/client.js";

const { address, streams, vramMb, end, named } = JSON.parse(process.argv[2]);
const scheduler = connectClient(address).client(SchedulerService);
const abort = new AbortController();
setMaxListeners(0, abort.signal);
const workload = { name: "crowd", resources: { requiresGpu: true, minGpuVramMb: vramMb, gpuCount: 1 } };
const first = [];
for (let i = 0; i < streams; i++) {
  const requestId = named ? `${process.pid}-${i}` : "";
  const stream = scheduler.waitForResources(
    { workload, requestId, timeout: durationFromMs(0), policy: "queue" },
    { signal: abort.signal },
  );
  first.push(stream[Symbol.asyncIterator]().next());
}
if (end === "leave") {
  await first[streams >> 1];
  process.exit(0);
}
await Promise.all(first);
process.stdout.write("waiting\n");
if (end === "cancel") {
  abort.abort();
  setTimeout(() => process.exit(0), 50);
} else setInterval(() => {}, 1_000);
