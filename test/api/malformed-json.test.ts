import { expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { openServices } from "./house.ts";

/** What only the text of a request can say: no client that knows the proto file could send it. */
const workload = (resources: string, more = "") => `{"workload":{"resources":${resources}${more}}}`;

it.each([
  ["a negative size", workload('{"requiresGpu":true,"minGpuVramMb":-1}'), "min_gpu_vram_mb"],
  ["a size beyond 32 bits", workload('{"requiresGpu":true,"minGpuVramMb":4294967296}'), "min_gpu_vram_mb"],
  ["half a MiB", workload('{"requiresGpu":true,"minGpuVramMb":0.5}'), "min_gpu_vram_mb"],
  ["NaN", workload('{"requiresGpu":true,"minGpuVramMb":"NaN"}'), "min_gpu_vram_mb"],
  ["Infinity", workload('{"requiresGpu":true,"minGpuVramMb":"Infinity"}'), "min_gpu_vram_mb"],
  ["a size that is 1e308", workload('{"minSystemRamMb":1e308}'), "min_system_ram_mb"],
  ["text for a size", workload('{"minSystemRamMb":"much"}'), "min_system_ram_mb"],
  ["a number for yes or no", workload('{"requiresGpu":1}'), "requires_gpu"],
  ["an object for a list", workload('{"requiresGpu":true,"gpuUuids":{}}'), "gpu_uuids"],
  ["half a surrogate pair in a name", workload("{}", ',"name":"\\ud83d"'), "name"],
  ["a list for labels", workload("{}", ',"labels":[]'), "labels"],
  ["a number for a label", workload("{}", ',"labels":{"a":1}'), "labels"],
  ["a hold that is not known", '{"workload":{"resources":{}},"hold":99}', "hold"],
  ["a duration without a unit", '{"workload":{"resources":{}},"leaseTtl":"60"}', "google.protobuf.Duration"],
  ["a duration of no number", '{"workload":{"resources":{}},"leaseTtl":"NaNs"}', "NaNs"],
  [
    "a duration beyond what a duration can be",
    '{"workload":{"resources":{}},"leaseTtl":"999999999999999s"}',
    "999999999999999s",
  ],
])("refuses %s with INVALID_ARGUMENT, says where, and nothing happens", async (_title, json, where) => {
  const house = openServices();
  const before = house.snapshot();
  const { status, body } = await house.post(SchedulerService.method.allocate, json);
  expect(status).toBe(400);
  expect(body.code).toBe("invalid_argument");
  // The decoder names the field, or what it could not read of it.
  expect(body.message).toContain(where);
  expect(house.snapshot()).toBe(before);
  expect(house.log).toEqual([]);
});

it.each([
  ["nothing", ""],
  ["half an object", '{"workload":'],
  ["a list", "[]"],
  ["null", "null"],
  ["a number", "1"],
  ["ten thousand brackets", "[".repeat(10_000)],
])("refuses %s for a request", async (_title, json) => {
  const house = openServices();
  const before = house.snapshot();
  const { status, body } = await house.post(SchedulerService.method.allocate, json);
  expect(status).toBe(400);
  expect(body.code).toBe("invalid_argument");
  expect(house.snapshot()).toBe(before);
});

it("a label that is named like a property of every object is a label and nothing else", async () => {
  const house = openServices();
  const json = '{"workload":{"resources":{},"labels":{"__proto__":"a","constructor":"b","toString":"c"}}}';
  const { status, body } = await house.post(SchedulerService.method.allocate, json);
  expect(status).toBe(200);
  expect(({} as Record<string, unknown>).a).toBeUndefined();
  const { lease } = body as { lease: { workload: { labels: object } } };
  expect(Object.entries(lease.workload.labels).filter(([key]) => key !== "__proto__")).toEqual([
    ["constructor", "b"],
    ["toString", "c"],
  ]);
});
