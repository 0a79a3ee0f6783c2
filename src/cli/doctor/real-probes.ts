import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { CgroupReader } from "../../monitor/cgroup.ts";
import { findOnPath, isExecutableFile } from "../../monitor/find-executable.ts";
import { Children } from "../../monitor/nvidia/child.ts";
import { csvBytes, OneShots } from "../../monitor/nvidia/one-shot.ts";
import { inHostPidNamespace } from "../../monitor/nvidia/pid-namespace.ts";
import { parseAddress } from "../../transport/address.ts";
import { connectClient } from "../../transport/client.ts";
import type { Listening, Probes } from "./probes.ts";

/** A cold driver wakes all GPUs for the first question. */
const askTimeoutMs = 30_000;

/** Looks at this machine. */
export function realProbes(
  nvidiaSmi: string,
  env: Readonly<Record<string, string | undefined>>,
): Probes & { close(): Promise<void> } {
  const path = nvidiaSmi.includes("/")
    ? isExecutableFile(nvidiaSmi)
      ? nvidiaSmi
      : undefined
    : findOnPath(nvidiaSmi, env.PATH);
  const children = new Children(path ?? nvidiaSmi, 2_000);
  const shots = new OneShots(children);
  return {
    nodeVersion: process.version,
    nvidiaSmi: path,
    ask: (args) => shots.ask({ args, timeoutMs: askTimeoutMs, maxBytes: csvBytes }),
    deviceFiles: () =>
      namesIn("/dev")
        .filter((name) => /^nvidia(\d+|ctl)$/.test(name))
        .map((name) => ({ path: `/dev/${name}`, usable: isUsable(`/dev/${name}`) })),
    readText: (file) => {
      try {
        return readFileSync(file, "utf8");
      } catch {
        return undefined;
      }
    },
    exists: existsSync,
    inHostPidNamespace,
    cgroup: () => new CgroupReader().read(),
    listen,
    sluiceAnswers: (door, address) => (door === "grpc" ? answersGrpc(address) : answersWeb(address)),
    close: () => children.endAll(5_000),
  };
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

function isUsable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function listen(text: string): Promise<Listening> {
  const address = parseAddress(text);
  // Listening would make the file, and a server that was killed leaves one behind that is in nobody's way.
  if (address.kind === "unix" && existsSync(address.path)) return Promise.resolve({ kind: "in-use" });
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code === "EADDRINUSE" ? { kind: "in-use" } : { kind: "failed", why: error.message });
    });
    server.listen(
      address.kind === "unix" ? { path: address.path } : { host: address.host, port: address.port, exclusive: true },
      () => server.close(() => resolve({ kind: "free" })),
    );
  });
}

async function answersGrpc(address: string): Promise<boolean> {
  const connection = connectClient(address, { timeoutMs: 1_500 });
  try {
    await connection.client(SchedulerService).getPolicy({});
    return true;
  } catch {
    return false;
  } finally {
    connection.close();
  }
}

async function answersWeb(address: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${address}/${SchedulerService.typeName}/GetPolicy`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
      signal: AbortSignal.timeout(1_500),
    });
    return response.ok;
  } catch {
    return false;
  }
}
