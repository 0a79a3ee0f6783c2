import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { startProgram, startServer } from "../support/server.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const client = `${root}clients/ts`;
// Inside of the package, so that programs find it by its own name.
const built = `${client}/build/as-tested`;

beforeAll(() => {
  const args = [`${root}node_modules/typescript/bin/tsc`, "-p", client, "--outDir", built];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(status, stdout).toBe(0);
});
afterAll(() => rmSync(built, { recursive: true, force: true }));

function resolved(conditions: readonly string[]): string[] {
  mkdirSync(built, { recursive: true });
  const hook = `${built}/hook.mjs`;
  writeFileSync(
    hook,
    `export async function resolve(specifier, context, next) {
       const found = await next(specifier, context);
       process._rawDebug(found.url);
       return found;
     }`,
  );
  const program = `import { register } from "node:module";
    register(${JSON.stringify(`file://${hook}`)});
    const { connect, NeverFits } = await import("sluice/client");
    if (typeof connect("http://127.0.0.1:1").resources !== "function" || typeof NeverFits !== "function") throw new Error("incomplete");`;
  writeFileSync(`${built}/program.mjs`, program);
  const args = [...conditions.flatMap((name) => ["--conditions", name]), `${built}/program.mjs`];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stderr.split("\n").filter((line) => /^(node|file):/.test(line));
}

describe("sluice/client by its name", () => {
  it("in a browser loads no module of Node, no gRPC stack and nothing of the server", () => {
    const modules = resolved(["browser"]).filter((url) => url !== "node:module");
    expect(modules.some((url) => url.endsWith("/dist/client/browser.js"))).toBe(true);
    expect(modules.filter((url) => url.startsWith("node:") || url.includes("grpc-js"))).toEqual([]);
    expect(
      modules.filter(
        (url) => /\/dist\/(?!client\/|esm\/)/.test(url.slice(`file://${root}`.length - 1)) && !url.includes("node_modules"),
      ),
    ).toEqual([]);
  });

  it("on Node loads the gRPC stack", () => {
    const modules = resolved([]);
    expect(modules.some((url) => url.endsWith("/dist/client/node.js"))).toBe(true);
    expect(modules.some((url) => url.includes("grpc-js"))).toBe(true);
  });
});

describe("the examples", () => {
  it("the one in the README is at most 10 lines, and runs as written", async () => {
    const written = /```ts\n(.*?)```/s.exec(readFileSync(`${client}/README.md`, "utf8"))?.[1];
    expect(written).toBe(readFileSync(`${client}/examples/first.ts`, "utf8"));
    expect(written?.trimEnd().split("\n").length).toBeLessThanOrEqual(10);
    await using server = await startServer(["--simulate", "24576"]);
    const run = startProgram(process.execPath, [`${built}/examples/first.js`], { SLUICE_ADDRESS: server.grpc });
    expect(await run.end, run.err()).toBe(0);
    expect(run.out()).toMatch(/^ours: GPU-[-0-9a-f]+\n$/);
    // One that has ended is listed until its memory is seen to be free.
    const { leases } = await server.client(SchedulerService).listLeases({});
    expect(leases.filter(({ end }) => end !== LeaseEnd.RELEASED)).toEqual([]);
  });

  it("commands of a batch run as many at a time as memory allows, and what never fits is told", async () => {
    await using server = await startServer(["--simulate", "12000"]);
    const run = startProgram(
      process.execPath,
      [`${built}/examples/batch.js`, "echo $SLUICE_LEASE_ID", "echo $SLUICE_LEASE_ID"],
      {
        SLUICE_ADDRESS: server.grpc,
      },
    );
    expect(await run.end, run.err()).toBe(0);
    expect(new Set(run.out().match(/^lease-\w+$/gm))).toHaveProperty("size", 2);
    await using small = await startServer(["--simulate", "8000"]);
    const never = startProgram(process.execPath, [`${built}/examples/batch.js`, "true"], { SLUICE_ADDRESS: small.grpc });
    expect(await never.end).toBe(1);
    expect(never.err()).toContain("never: 10,000 MiB on one GPU can never fit here");
  });

  it("a model that can be asked back works and is given back", async () => {
    await using server = await startServer(["--simulate", "24576"]);
    const run = startProgram(process.execPath, [`${built}/examples/evictable.js`, "a page"], { SLUICE_ADDRESS: server.grpc });
    expect(await run.end, run.err()).toBe(0);
    expect(run.out()).toMatch(/^loaded on GPU-[-0-9a-f]+\nworking on a page\n$/);
    // One that has ended is listed until its memory is seen to be free.
    const { leases } = await server.client(SchedulerService).listLeases({});
    expect(leases.filter(({ end }) => end !== LeaseEnd.RELEASED)).toEqual([]);
  });
});
