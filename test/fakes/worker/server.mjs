// A "server" that keeps workers, on the built files, to be killed. Its argument is JSON: `stateDir`, and one object for each worker:
// `fake` as in worker.mjs, `id` of its lease, `grandchildren` that it starts. Prints the pids of all that run, and stays.
import { fileURLToPath } from "node:url";
import { processRegister } from "../../../dist/executor/process-register.js";
import { WorkerProcess } from "../../../dist/executor/worker-process.js";

const { stateDir, workers, closes } = JSON.parse(process.argv[2]);
const program = fileURLToPath(new URL("./worker.mjs", import.meta.url));
const register = processRegister(stateDir === undefined ? {} : { stateDir });
const signal = new AbortController().signal;
const silent = { onLog: () => {}, onProgress: () => {}, ready: () => undefined };

const pids = [];
const started = [];
for (const { fake, id, grandchildren = [] } of workers) {
  const { worker, message } = await WorkerProcess.start(
    {
      name: "fake",
      argv: [process.execPath, program, JSON.stringify(fake)],
      cwd: "/",
      env: { PATH: process.env.PATH, SLUICE_LEASE_ID: id },
      marker: `SLUICE_LEASE_ID=${id}`,
      killGraceMs: 500,
    },
    { register },
  );
  if (worker === undefined) throw new Error(message);
  started.push(worker);
  const loaded = await worker.initialize({}, { stallMs: 60_000, signal, ...silent });
  if (loaded.kind !== "ready") throw new Error(JSON.stringify(loaded));
  pids.push(worker.pid);
  for (const [i, how] of grandchildren.entries()) {
    const end = await worker.execute({ do: "grandchild", ...how }, { executionId: `e${i}`, ...silent }, signal);
    pids.push(end.value);
  }
}
if (closes) {
  await Promise.all(started.map((w) => w.shutdown()));
  await register.close();
}
console.log(JSON.stringify(pids));
setInterval(() => {}, 1000);
