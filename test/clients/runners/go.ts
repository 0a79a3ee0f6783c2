import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Runner } from "../run.ts";

const run = promisify(execFile);
const client = fileURLToPath(new URL("../../../clients/go", import.meta.url));
const program = `${client}/build/scenarios`;

/** The first build fetches four modules and compiles gRPC, with the race detector too. */
const limitMs = 600_000;

/** At most so many compilers at a time: each takes up to half a GiB. */
const two = ["-p", "2"];

/** Go, with the client as `go build` makes it from go.mod and go.sum. */
export function goRunner(): Runner {
  let race: readonly string[] = [];
  return {
    language: "go",
    async prepare() {
      try {
        await run("go", ["version"]);
      } catch {
        return "there is no go";
      }
      try {
        await go("build", ...two, "-o", program, "./internal/scenarios");
        race = (await hasRaceDetector()) ? ["-race"] : [];
        // Compiled here, so that the tests themselves have their whole time.
        await go("test", ...two, ...race, "-run", "^$", "./...");
        return undefined;
      } catch (error) {
        return `go failed: ${lastLine(error)}`;
      }
    },
    command: () => [program],
    ownTests: () => ["go", "-C", client, "test", ...race, "./..."],
  };
}

function go(...args: readonly string[]) {
  return run("go", ["-C", client, ...args], { timeout: limitMs });
}

/** It needs cgo and so a C compiler, which not every machine has. */
async function hasRaceDetector(): Promise<boolean> {
  const { stdout } = await go("env", "CGO_ENABLED");
  return stdout.trim() === "1";
}

function lastLine(error: unknown): string {
  const { stderr = "", message = "" } = error as { stderr?: string; message?: string };
  return (stderr.trim() || message).split("\n").at(-1) ?? "";
}
