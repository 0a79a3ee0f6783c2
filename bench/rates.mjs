// How many calls a second: Allocate and ReleaseLease, with a state file and without, beside an empty call on a bare grpc-js server, in
// one run. Linux only. node bench/rates.mjs [TURNS] [MS]
import { print, printSetUp, printTable } from "./lib/print.mjs";
import { measureRates } from "./lib/rates.mjs";

const turns = Number(process.argv[2] ?? 5);
const ms = Number(process.argv[3] ?? 2_000);
const titles = {
  empty: ["empty call, bare grpc-js", ""],
  policy: ["GetPolicy", ""],
  durable: ["Allocate + ReleaseLease, state in a file", "0.8 ×"],
  memory: ["Allocate + ReleaseLease, state in memory", "0.9 ×"],
};

printSetUp("Calls a second", {
  callers: "a raw HTTP/2 client in a process of its own",
  turns: `${turns} of ${ms} ms each, the servers one after the other in each`,
});
for (const [connections, underWay] of [
  [4, 25],
  [1, 1],
]) {
  const measured = await measureRates({ turns, ms, connections, underWay });
  print(underWay === 1 ? "one call after the other:" : `${connections} connections with ${underWay} calls under way on each:`);
  printTable(
    ["", "calls a second", "of the empty call", "target", "µs of processor"],
    Object.entries(measured).map(([name, { rate, ratio, us }]) => {
      const [title, target] = titles[name];
      return [title, rate.toFixed(0), `${ratio.toFixed(2)} ×`, target, us.toFixed(0)];
    }),
  );
}
print("Medians of all turns. Each of the two is counted as a call. The processor's time is that of all threads of the server.");
