import type { DescMethod } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { ExecutorService } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { waitFor } from "../wait-for.ts";
import { Code, errorOf, openServices, type Services } from "./house.ts";
import { anyMessage } from "./messages.ts";

const rpcs: readonly DescMethod[] = [SchedulerService, MonitorService, ExecutorService].flatMap((s) => s.methods);

/** What a caller's request can be answered with. INTERNAL, UNKNOWN and UNIMPLEMENTED would be ours. */
const answers = [
  Code.InvalidArgument,
  Code.NotFound,
  Code.FailedPrecondition,
  Code.AlreadyExists,
  Code.ResourceExhausted,
  Code.Aborted,
  Code.Canceled,
];

function call(house: Services, rpc: DescMethod, request: unknown) {
  const client = house.client(rpc.parent) as unknown as Record<string, (request: unknown) => Promise<unknown>>;
  return errorOf(client[rpc.localName]?.(request) ?? Promise.reject(new Error(`there is no ${rpc.localName}`)));
}

/** Streams that were left are noticed a turn later. */
async function settled(house: Services): Promise<void> {
  await waitFor(() => house.gate.queue().tickets.every((t) => !t.connected), "streams that were left to be noticed");
}

describe.each(rpcs.map((rpc) => [rpc.name, rpc] as const))("%s", (_name, rpc) => {
  it("answers any request that can be sent, and one that it refuses changes nothing", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyMessage(rpc.input), { minLength: 1, maxLength: 6 }), async (requests) => {
        const house = openServices();
        house.registry.register({ name: "known", command: ["true"], resources: {} }, "manifest");
        for (const request of requests) {
          await settled(house);
          const before = house.snapshot();
          const error = await call(house, rpc, request);
          if (error === undefined) continue;
          expect(answers.map((c) => Code[c])).toContain(Code[error.code]);
          expect(error.findDetails(ErrorInfoSchema)[0]?.domain).toBe("sluice");
          // An execution that was refused or failed is remembered, and holds nothing.
          if (error.code === Code.InvalidArgument) expect(house.snapshot()).toBe(before);
        }
        expect(house.log.filter((line) => line.includes("internal error"))).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

it("any sequence of calls keeps the books: what is promised never exceeds what there is, unless somebody asked for that", async () => {
  const requests = fc
    .constantFrom(...rpcs.filter((r) => r !== SchedulerService.method.setPolicy))
    .chain((rpc) => anyMessage(rpc.input).map((request) => ({ rpc, request })));
  await fc.assert(
    fc.asyncProperty(fc.array(requests, { minLength: 10, maxLength: 40 }), async (calls) => {
      const house = openServices();
      for (const { rpc, request } of calls) {
        await call(house, rpc, request);
        house.measure();
        const careful = house.gate.leases().filter((l) => l.policy === "safety" || l.policy === "queue");
        const promised = careful.flatMap((l) => l.gpus).reduce((sum, g) => sum + g.vramMb, 0);
        expect(promised).toBeLessThanOrEqual(24_576 - 492);
      }
      expect(house.log.filter((line) => line.includes("internal error"))).toEqual([]);
    }),
    { numRuns: 40 },
  );
});
