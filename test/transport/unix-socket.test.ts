import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../src/transport/client.ts";
import { listen } from "../../src/transport/listen.ts";
import { waitFor } from "../wait-for.ts";
import { openHouse, temporaryFolder } from "./harness.ts";

let folder: ReturnType<typeof temporaryFolder>;
let path: string;

beforeEach(() => {
  folder = temporaryFolder();
  path = join(folder.path, "sluice.sock");
});

afterEach(() => folder.remove());

it("a Unix socket serves calls, is its owner's alone, and is gone after the drain", async () => {
  const house = await openHouse({ grpc: { addresses: [`unix:${path}`] } });
  expect(house.doors.grpcAddresses).toEqual([`unix:${path}`]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const connection = connectClient(`unix:${path}`);
  expect((await connection.client(SchedulerService).getLease({ leaseId: "l" })).lease?.id).toBe("l");
  connection.close();
  await house.close();
  await waitFor(() => !existsSync(path), "the socket to be removed");
});

// Guards the instant between bind and chmod, in which a socket made with the usual mask could be opened by anybody.
it("a Unix socket is private from its first instant on, and the mask of the process is as before", async () => {
  const before = process.umask(0o022);
  try {
    let modeAtBind: number | undefined;
    const listening = await listen(`unix:${path}`, "grpc", () => {
      const server = createServer();
      const listenAsUsual = server.listen.bind(server);
      server.listen = (...args: unknown[]) => {
        const result = Reflect.apply(listenAsUsual, server, args);
        modeAtBind = statSync(path).mode & 0o777;
        return result;
      };
      return server;
    });
    expect(modeAtBind).toBe(0o600);
    expect(process.umask()).toBe(0o022);
    listening.close();
  } finally {
    process.umask(before);
  }
});

it("a socket that a dead server left behind is replaced", async () => {
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.stdout.write("up"))`;
  const server = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  await once(server.stdout, "data");
  server.kill("SIGKILL");
  await once(server, "exit");
  expect(existsSync(path)).toBe(true);

  const house = await openHouse({ grpc: { addresses: [`unix:${path}`] } });
  const connection = connectClient(`unix:${path}`);
  expect((await connection.client(SchedulerService).getLease({ leaseId: "l" })).lease?.id).toBe("l");
  connection.close();
  await house.close();
});

it("a socket that a live server listens on stays its own", async () => {
  const house = await openHouse({ grpc: { addresses: [`unix:${path}`] } });
  await expect(openHouse({ grpc: { addresses: [`unix:${path}`] } })).rejects.toThrow(
    `grpc: unix:${path} is in use by another program`,
  );
  const connection = connectClient(`unix:${path}`);
  expect((await connection.client(SchedulerService).getLease({ leaseId: "l" })).lease?.id).toBe("l");
  connection.close();
  await house.close();
});

it("a file that is not a socket is never removed", async () => {
  writeFileSync(path, "precious");
  await expect(openHouse({ grpc: { addresses: [`unix:${path}`] } })).rejects.toThrow(/exists and is not a socket/);
  expect(existsSync(path)).toBe(true);
});

it("a folder that is missing or a path that is too long is told in plain words", async () => {
  await expect(openHouse({ grpc: { addresses: [`unix:${join(folder.path, "no", "s")}`] } })).rejects.toThrow(
    /the folder of .* does not exist/,
  );
  await expect(openHouse({ grpc: { addresses: [`unix:/tmp/${"x".repeat(120)}`] } })).rejects.toThrow(
    /too long for a Unix socket; at most 10[37] bytes/,
  );
});

// Nobody may make files in /proc, not even root, which tests in containers often run as.
it.skipIf(process.platform !== "linux")("a folder that may not be written to is told in plain words", async () => {
  await expect(openHouse({ grpc: { addresses: ["unix:/proc/sluice.sock"] } })).rejects.toThrow(
    /there is no permission to listen on unix:/,
  );
});
