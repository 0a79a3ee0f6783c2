import { it } from "vitest";
import { waitFor } from "../wait-for.ts";
import { startServer } from "./support/server.ts";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
it("x", async () => {
  const server = await startServer(["--simulate", "24576"]);
  const scheduler = server.client(SchedulerService);
  await scheduler.allocate({workload:{name:"a",resources:{requiresGpu:true,minGpuVramMb:20000}}});
  const leave = new AbortController();
  const json = JSON.stringify({ workload: { name: "tab", resources: { requiresGpu: true, minGpuVramMb: 8_000 } } });
  const envelope = Buffer.alloc(5 + Buffer.byteLength(json));
  envelope.writeUInt32BE(Buffer.byteLength(json), 1);
  envelope.write(json, 5);
  const response = await fetch(`${server.web}/sluice.v1.SchedulerService/WaitForResources`, {
    method: "POST", headers: { "content-type": "application/connect+json" }, body: envelope, signal: leave.signal });
  const t = performance.now();
  const lap = (w: string) => process.stderr.write(`${w} ${performance.now() - t}\n`);
  leave.abort();
  await waitFor(async () => (await scheduler.listQueue({})).tickets.length === 0, "gone");
  lap("gone");
  await response.text().catch(() => "");
  lap("text");
  process.stderr.write(String(await server.stop()));
  lap("stopped");
  process.stderr.write(server.process.err());
});
