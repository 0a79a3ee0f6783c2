import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { BadRequestSchema } from "#gen/google/rpc/error_details_pb.js";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { startServer } from "./support/server.ts";

const long = "x".repeat(10_000_000);

function labels(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"]));
}

const cases = [
  ["a name of 10 MB", { name: long, resources: {} }, "workload.name"],
  ["a tenant of 10 MB", { tenant: long, resources: {} }, "workload.tenant"],
  ["a million labels", { resources: {}, labels: labels(1_000_000) }, "workload.labels"],
] as const;

it.each(cases)(
  "%s is refused by both doors, which name the field, grant nothing and log none of it",
  async (_, workload, field) => {
    await using server = await startServer(["--simulate", "24576"]);
    const scheduler = server.client(SchedulerService);

    const error = ConnectError.from(
      await scheduler.allocate({ workload }).then(
        () => undefined,
        (e: unknown) => e,
      ),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations.map((v) => v.field)).toEqual([field]);

    const response = await fetch(`${server.web}/sluice.v1.SchedulerService/Allocate`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ workload }),
    });
    expect(response.status).toBe(400);
    expect((await response.json()) as object).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining(`${field}: `),
    });

    expect((await scheduler.listQueue({})).leases).toEqual([]);
    expect(server.process.err().length).toBeLessThan(10_000);
  },
);
