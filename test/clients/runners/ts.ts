import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Runner } from "../run.ts";
import type { Scenario } from "../scenario-file.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const root = here("../../..");
const client = `${root}clients/ts`;
const vitest = `${root}node_modules/vitest/vitest.mjs`;

/** TypeScript on Node over gRPC. The runner is a program that uses the built package by its name. */
export const tsRunner: Runner = {
  language: "ts",
  prepare,
  command: () => [process.execPath, `${client}/build/tests/scenario-runner.js`],
  ownTests: () => [process.execPath, vitest, "run", "--root", root, "test/client/", "test/process/client/"],
};

/** The same through the web door, with the fetch() that browsers have too. */
export const tsWebRunner: Runner = {
  language: "ts-web",
  prepare,
  command: () => [process.execPath, `${client}/build/tests/scenario-runner.js`, "--web"],
  cannot: ({ clients = {}, steps }: Scenario) => {
    const doors = Object.values(clients).map(({ door = "grpc" }) => door);
    if (doors.includes("unix")) return "fetch has no unix sockets";
    if (doors.includes("newer")) return "the later server has a gRPC door only";
    if (Object.values(clients).some(({ keepalive_ms }) => keepalive_ms !== undefined)) return "fetch has no keepalive";
    if (JSON.stringify(steps).includes("HOLD_STREAM")) return "a lease is held by its stream only on doors with keepalive";
    return undefined;
  },
};

let prepared: Promise<string | undefined> | undefined;

/** Compiles runner and examples, against the package as it is built. */
function prepare(): Promise<string | undefined> {
  prepared ??= (async () => {
    if (!existsSync(`${root}dist/client/node.js`)) return "dist/client is missing; run npm run build";
    const tsc = `${root}node_modules/typescript/bin/tsc`;
    const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", client], { encoding: "utf8", timeout: 60_000 });
    return status === 0 ? undefined : `its runner does not compile: ${stdout.trim().split("\n")[0]}`;
  })();
  return prepared;
}
