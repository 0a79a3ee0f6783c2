import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "./numbers.mjs";
import { cpuMs, startBare, startCallers, startSluice } from "./processes.mjs";

/**
 * Calls a second, one server after the other in each turn, because the machine changes between turns. The first turn, in which
 * everything is compiled, does not count.
 * @param underWay calls on each of the connections that follow each other without a pause.
 * @returns for each way: the rate, its ratio to the empty call within each turn, and µs of the server's processors for a call; medians.
 */
export async function measureRates({ turns, ms, connections, underWay }) {
  const folder = mkdtempSync(join(tmpdir(), "sluice-rates-"));
  const bare = await startBare();
  const durable = await startSluice("--state", join(folder, "state.db"));
  const memory = await startSluice("--state", ":memory:");
  const ways = [];
  for (const [name, server, what] of [
    ["empty", bare, "empty"],
    ["policy", memory, "empty"],
    ["durable", durable, "pairs"],
    ["memory", memory, "pairs"],
  ]) {
    const callers = await startCallers(server.address, what, connections, underWay);
    ways.push({ name, server, callers, rates: [], us: [] });
  }
  for (let turn = -1; turn < turns; turn++) {
    for (const way of ways) {
      const before = cpuMs(way.server.pid);
      const { calls, tookMs } = await way.callers.go(ms);
      if (turn < 0) continue;
      way.rates.push((1_000 * calls) / tookMs);
      way.us.push((1_000 * (cpuMs(way.server.pid) - before)) / calls);
    }
  }
  for (const way of ways) await way.callers.stop();
  for (const server of [bare, durable, memory]) await server.stop();
  rmSync(folder, { recursive: true, force: true });
  const [empty] = ways;
  return Object.fromEntries(
    ways.map(({ name, rates, us }) => {
      const ratio = median(rates.map((rate, turn) => rate / empty.rates[turn]));
      return [name, { rate: median(rates), ratio, us: median(us) }];
    }),
  );
}
