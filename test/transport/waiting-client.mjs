// A client in a process of its own, to be frozen or ended: waits for resources and says "waiting" after the first message.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials } from "@grpc/grpc-js";
import { WaitForResourcesRequestSchema, WaitForResourcesResponseSchema } from "#gen/sluice/v1/scheduler_pb.js";

const client = new Client(process.argv[2], credentials.createInsecure());
const stream = client.makeServerStreamRequest(
  "/sluice.v1.SchedulerService/WaitForResources",
  (request) => Buffer.from(toBinary(WaitForResourcesRequestSchema, request)),
  (bytes) => fromBinary(WaitForResourcesResponseSchema, bytes),
  create(WaitForResourcesRequestSchema, { workload: { name: "waits" } }),
);
stream.once("data", () => process.stdout.write("waiting"));
stream.on("error", () => process.exit(1));
