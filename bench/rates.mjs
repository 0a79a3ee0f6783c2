// How many calls a second: Allocate and ReleaseLease, with a state file and without, beside an empty call on a bare grpc-js server, in
// one run. Linux only. node bench/rates.mjs [TURNS] [MS]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { print, printSetUp, printTable } from "./lib/print.mjs";
import { cpuMs, startBare, startCallers, startSluice } from "./lib/processes.mjs";

const turns = Number(process.argv[2] ?? 5);
const ms = Number(process.argv[3] ?? 2_000);
const connections = 4;
const underWay = 25;

const folder = mkdtempSync(join(tmpdir(), "sluice-rates-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

printSetUp("Calls a second", {
  callers: `${connections} connections with ${underWay} calls under way on each, a raw HTTP/2 client in a process of its own`,
  turns: `${turns} of ${ms} ms each, the servers one after the other in each`,
  file: folder,
});
const bare = await startBare();
const durable = await startSluice("--state", join(folder, "state.db"));
const memory = await startSluice("--state", ":memory:");
const ways = [
  { title: "empty call, bare grpc-js", server: bare, what: "empty" },
  { title: "GetPolicy", server: memory, what: "empty" },
  { title: "Allocate + ReleaseLease, state in a file", server: durable, what: "pairs", target: 0.8 },
  { title: "Allocate + ReleaseLease, state in memory", server: memory, what: "pairs", target: 0.9 },
].map((way) => ({ ...way, rates: [], us: [] }));
for (const way of ways) way.callers = await startCallers(way.server.address, way.what, connections, underWay);
for (let turn = -1; turn < turns; turn++) {
  for (const way of ways) {
    const before = cpuMs(way.server.pid);
    const { calls, tookMs } = await way.callers.go(ms);
    const cpu = cpuMs(way.server.pid) - before;
    // In the first turn everything is compiled.
    if (turn < 0) continue;
    way.rates.push((1_000 * calls) / tookMs);
    way.us.push((1_000 * cpu) / calls);
  }
}
for (const way of ways) await way.callers.stop();
for (const server of [bare, durable, memory]) await server.stop();

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const [empty] = ways;
/** The ratio within each turn, because the machine changes between them. */
const ratio = (way) => median(way.rates.map((rate, i) => rate / empty.rates[i]));
printTable(
  ["", "calls a second", "of the empty call", "target", "µs of processor"],
  ways.map((way) => [
    way.title,
    median(way.rates).toFixed(0),
    `${ratio(way).toFixed(2)} ×`,
    way.target === undefined ? "" : `${way.target} ×`,
    median(way.us).toFixed(0),
  ]),
);
print("Medians of all turns. Each of the two is counted as a call. The processor's time is that of all threads of the server.");
