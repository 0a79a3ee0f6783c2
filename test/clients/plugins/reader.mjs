// A worker on raw lines (docs/workers.md): progress, a line of log, then its arguments as the result.
import { createInterface } from "node:readline";

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === "initialize") send({ id, result: {} });
  else if (method === "shutdown") {
    send({ id, result: null });
    process.exit(0);
  } else if (method === "execute") {
    const { execution_id, arguments: args } = params;
    const steps = args.steps ?? 0;
    for (let step = 1; step <= steps; step += 1) {
      send({ method: "progress", params: { execution_id, fraction: step / steps, message: `step ${step} of ${steps}` } });
    }
    send({ method: "log", params: { execution_id, message: `read ${args.text.length} characters` } });
    if (args.fail) send({ id, error: { code: 1, message: "the page is torn" } });
    else send({ id, result: { text: args.text, length: args.text.length } });
  }
});
