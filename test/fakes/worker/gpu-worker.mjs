// A worker that takes memory on the pretended machine (see ../nvidia-smi/fake.ts): all of it at `initialize`, on the first GPU of its
// lease, and gives it back by ending. Where its memory is not there it notes that in oom.log, as a fake job does, and answers
// "out of memory". What it lives through it notes in workers.log beside the state file.
//
//   gpu-worker '{"mib": N, "answerMs": N}'
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { dir, holders, locked, memoryOf, readState, register, startOf } from "../nvidia-smi/machine.mjs";

const { mib, answerMs = 0 } = JSON.parse(process.argv[2] ?? "{}");
const pid = process.pid;
const start = startOf(pid);
/** Executions that were asked for and are not answered. */
let underWay = 0;

const append = (file, record) => appendFileSync(join(dir, file), `${JSON.stringify({ t: Date.now(), pid, ...record })}\n`);
const note = (event, more = {}) => append("workers.log", { event, start, underWay, ...more });
const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);

/** Answers whether the memory was there. */
function take(gpuUuid) {
  const state = readState();
  const gpu = state.gpus.find((candidate) => candidate.uuid === gpuUuid);
  const { free, total } = memoryOf(gpu, holders(state));
  if (mib > free) {
    append("oom.log", { gpu: gpuUuid, wantedMb: mib, heldMb: 0, freeMb: free, totalMb: total });
    return false;
  }
  register({ pid, start, gpuUuid, usedMb: mib, name: "gpu-worker" });
  return true;
}

const methods = {
  async initialize({ id, params }) {
    const fits = await locked(() => take(params.lease.gpus[0].uuid));
    if (fits) send({ id, result: { capabilities: {} } });
    else send({ id, error: { code: -32001, message: "CUDA out of memory", data: { resource: "gpu", needed_mb: mib } } });
  },
  execute({ id, params }) {
    underWay += 1;
    setTimeout(() => {
      underWay -= 1;
      send({ id, result: { pid, got: params.arguments } });
    }, answerMs);
  },
  shutdown({ id }) {
    note("shutdown");
    send({ id, result: null });
    process.exit(0);
  },
};

note("start");
process.on("SIGTERM", () => {
  note("SIGTERM");
  process.exit(0);
});
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const message = JSON.parse(line);
  methods[message.method]?.(message);
});
// The server is gone.
lines.on("close", () => {
  note("stdin ended");
  process.exit(0);
});
