// Keeps a model loaded as long as nobody else needs its memory. An example without a model: load() and free() are yours.
import { connect, type Lease } from "sluice/client";

const load = async (lease: Lease) => console.log("loaded on", lease.env.CUDA_VISIBLE_DEVICES);
const free = async () => console.log("freed");

await using client = connect();
const lease = await client.resources({
  vramMb: 8000,
  name: "model",
  onEviction: async (held, request) => {
    console.log(request.reason);
    await free();
    await held.release();
  },
});
await load(lease);
for (const text of process.argv.slice(2)) {
  await lease.executing(async () => console.log("working on", text)); // not asked back while this runs
}
await lease.release();
