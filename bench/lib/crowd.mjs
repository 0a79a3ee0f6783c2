// Waits with many streams over a few connections, reads whatever comes, and says "waiting" when each has heard something. Arguments:
// address, streams, MiB, and what wakes all of them: an "arrival" at the end of sluice's queue, or the "broadcast" of the bare server.
// Reads "wake" and answers how long it took until each had heard something. Ends when its stdin does.
import { createInterface } from "node:readline";
import { create, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { WaitForResourcesRequestSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { RawConnection } from "./raw-http2.mjs";

const [address = "", streams = "1", vramMb = "1", alarm = "arrival"] = process.argv.slice(2);
const total = Number(streams);
const atOnce = 200;
const path = (name) => `/sluice.v1.SchedulerService/${name}`;
const connections = Array.from({ length: 10 }, () => new RawConnection(address));
const request = create(WaitForResourcesRequestSchema, {
  workload: { name: "crowd", resources: { requiresGpu: true, minGpuVramMb: Number(vramMb) } },
  timeout: durationFromMs(0),
});
const bytes = toBinary(WaitForResourcesRequestSchema, request);

/** The last round in which each stream has heard something; who has not heard in this one. */
const heardIn = new Int32Array(total).fill(-1);
let round = 0;
let missing = total;
let allHaveHeard = () => {};
function heard(n) {
  if (heardIn[n] === round) return;
  heardIn[n] = round;
  if (--missing === 0) allHaveHeard();
}

function open(n) {
  return new Promise((resolve) => {
    connections[n % connections.length].call(path("WaitForResources"), bytes, () => {
      heard(n);
      resolve();
    });
  });
}

async function wake() {
  round++;
  missing = total;
  const from = performance.now();
  const all = new Promise((resolve) => {
    allHaveHeard = resolve;
  });
  if (alarm === "arrival") connections[0].call(path("WaitForResources"), bytes, () => {});
  else connections[0].call(path("CancelTicket"), new Uint8Array(0), () => {});
  await all;
  process.stdout.write(`woken ${performance.now() - from}\n`);
}

for (let n = 0; n < total; n += atOnce)
  await Promise.all(Array.from({ length: Math.min(atOnce, total - n) }, (_, i) => open(n + i)));
process.stdout.write("waiting\n");
const lines = createInterface({ input: process.stdin });
lines.on("line", wake);
lines.once("close", () => process.exit(0));
