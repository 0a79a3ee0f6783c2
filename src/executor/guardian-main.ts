import { createInterface } from "node:readline";
import { endForeignGroup, recordedGroup } from "./foreign-group.ts";
import type { GroupIdentity } from "./group-members.ts";

/**
 * A process of its own that outlives the server by as much as it takes to end what the server left. It hears of every group that
 * runs through its stdin, one JSON object a line: `{add: {pid, start, marker}}`, `{remove: {pid}}`, `{bye: true}`.
 *
 * - listening: from the start. Signals that end the server too, such as those of a terminal or a service manager, are for the server.
 * - ending: stdin has ended without a bye: the server is gone. Every group that it knows is ended.
 * - done: after a bye, or when nothing is left. It exits.
 */
const graceMs = 2_000;

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => {});
process.title = "sluice-guardian";

const groups = new Map<number, GroupIdentity>();

function hear(line: string): void {
  let said: Partial<Record<"add" | "remove" | "bye", unknown>> | null;
  try {
    said = JSON.parse(line);
  } catch {
    return;
  }
  if (said?.bye === true) process.exit(0);
  const group = recordedGroup(said?.add);
  if (group !== undefined) groups.set(group.pid, group);
  const gone = (said?.remove as { readonly pid?: unknown } | undefined)?.pid;
  if (typeof gone === "number") groups.delete(gone);
}

async function endAll(): Promise<void> {
  await Promise.all([...groups.values()].map((group) => endForeignGroup(group, { graceMs, recent: true })));
  process.exit(0);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", hear);
// A server that was killed may leave a broken pipe behind instead of one that ended.
lines.on("error", () => lines.close());
lines.once("close", () => void endAll());
