// Waits with many streams over a few connections, reads whatever comes, and says "waiting" when each has heard something. Arguments:
// address, streams, MiB. Ends when its stdin does.
import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Client, credentials } from "@grpc/grpc-js";
import { WaitForResourcesRequestSchema } from "#gen/sluice/v1/scheduler_pb.js";

const [address = "", streams = "1", vramMb = "1"] = process.argv.slice(2);
const atOnce = 200;
const clients = Array.from(
  { length: 10 },
  () => new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }),
);
const request = create(WaitForResourcesRequestSchema, {
  workload: { name: "crowd", resources: { requiresGpu: true, minGpuVramMb: Number(vramMb) } },
  timeout: durationFromMs(0),
});
const bytes = Buffer.from(toBinary(WaitForResourcesRequestSchema, request));
const asIs = (message) => message;

function wait(n) {
  return new Promise((resolve, reject) => {
    const path = "/sluice.v1.SchedulerService/WaitForResources";
    const stream = clients[n % clients.length].makeServerStreamRequest(path, asIs, asIs, bytes);
    stream.on("data", resolve);
    stream.once("error", reject);
  });
}

const total = Number(streams);
for (let n = 0; n < total; n += atOnce)
  await Promise.all(Array.from({ length: Math.min(atOnce, total - n) }, (_, i) => wait(n + i)));
process.stdout.write("waiting\n");
process.stdin.resume().once("end", () => process.exit(0));
