// A grpc-js server that does nothing but what sluice's transport has to do as well: answers an empty call, keeps streams open after
// one message of the usual size, and sends each of them another one. What sluice is measured beside. Says its address on stdout.
import { create, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { WaitForResourcesResponseSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { ReasonCode } from "#gen/sluice/v1/types_pb.js";

const queued = Buffer.from(
  toBinary(
    WaitForResourcesResponseSchema,
    create(WaitForResourcesResponseSchema, {
      ticketId: "ticket-0123456789abcdef",
      event: {
        case: "queued",
        value: {
          position: 1_234,
          queueLength: 10_000,
          reasons: [
            {
              code: ReasonCode.INSUFFICIENT_GPU_MEMORY,
              message: "GPU 0 has 1,000 MiB available of the 9,000 MiB needed; 9,000 MiB are leased",
              gpuUuid: "GPU-00000000-0000-4000-8000-000000000000",
              heldBy: ["lease-0123456789abcdef"],
            },
          ],
        },
      },
    }),
  ),
);
const asIs = (bytes) => bytes;
const method = (path, responseStream) => ({
  path,
  requestStream: false,
  responseStream,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});
const waiting = new Set();
const server = new Server({ "grpc.enable_channelz": 0 });
server.addService(
  {
    wait: method("/sluice.v1.SchedulerService/WaitForResources", true),
    empty: method("/sluice.v1.SchedulerService/GetPolicy", false),
    broadcast: method("/sluice.v1.SchedulerService/CancelTicket", false),
  },
  {
    wait(call) {
      waiting.add(call);
      call.once("cancelled", () => waiting.delete(call));
      call.write(queued);
    },
    broadcast(_call, callback) {
      for (const call of waiting) call.write(queued);
      callback(null, Buffer.alloc(0));
    },
    empty: (_call, callback) => callback(null, Buffer.alloc(0)),
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.stdout.write(`127.0.0.1:${port}\n`);
});
