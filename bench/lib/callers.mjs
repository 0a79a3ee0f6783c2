// Keeps calls under way, a given number of them on each of a few connections, each followed by the next. Arguments: address, what to
// call, connections, calls under way on each. Reads "go MS" and answers with how many calls ended meanwhile; ends when its stdin does.
import { createInterface } from "node:readline";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AllocateRequestSchema, AllocateResponseSchema, ReleaseLeaseRequestSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { RawConnection } from "./raw-http2.mjs";

const [address = "", what = "empty", connections = "1", underWay = "1"] = process.argv.slice(2);
const path = (name) => `/sluice.v1.SchedulerService/${name}`;
const nothing = new Uint8Array(0);
const allocation = toBinary(
  AllocateRequestSchema,
  create(AllocateRequestSchema, {
    workload: { name: "rate", resources: { requiresGpu: true, minGpuVramMb: 64 } },
    policy: "safety",
  }),
);

let ended = 0;
let isGoing = false;
let idle = [];
const all = Array.from({ length: Number(connections) }, () => new RawConnection(address));

function next(again) {
  ended++;
  if (isGoing) again();
  else idle.push(again);
}

function callEmpty(connection) {
  const again = () => connection.call(path("GetPolicy"), nothing, () => next(again));
  return again;
}

function callPairs(connection) {
  const again = () => connection.call(path("Allocate"), allocation, granted);
  const granted = (bytes) => {
    const { outcome } = fromBinary(AllocateResponseSchema, bytes);
    if (outcome.case !== "lease") throw new Error(outcome.value?.reasons.map((r) => r.message).join("; "));
    const { id, token } = outcome.value;
    ended++;
    const release = toBinary(ReleaseLeaseRequestSchema, create(ReleaseLeaseRequestSchema, { leaseId: id, token }));
    connection.call(path("ReleaseLease"), release, () => next(again));
  };
  return again;
}

idle = all.flatMap((connection) =>
  Array.from({ length: Number(underWay) }, () => (what === "empty" ? callEmpty(connection) : callPairs(connection))),
);
process.stdout.write("connected\n");
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const ms = Number(line.split(" ")[1]);
  ended = 0;
  isGoing = true;
  const from = performance.now();
  for (const begin of idle.splice(0)) begin();
  setTimeout(() => {
    isGoing = false;
    process.stdout.write(`did ${ended} in ${performance.now() - from}\n`);
  }, ms);
});
lines.once("close", () => process.exit(0));
