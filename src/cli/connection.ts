import type { Command } from "commander";
import type { Connection } from "../transport/client.ts";
import type { CliIo } from "./io.ts";

/** Where a server listens when nobody says otherwise. */
export const defaultAddress = "127.0.0.1:50051";

/** How long the server may take to answer a question. */
export const answerTimeoutMs = 10_000;

/** How long it may take to load a worker, or to end one. When that has failed is the server's to say. */
export const workerCallMs = 86_400_000;

/** Adds --address. */
export function addAddress(command: Command): Command {
  return command.option("--address <ADDR>", `the server: host:port or unix:/path (SLUICE_ADDRESS, else ${defaultAddress})`);
}

/** The server that a command talks to: its flag, the environment, the default. */
export function addressOf(command: Command, io: CliIo): string {
  const flag: unknown = command.optsWithGlobals().address;
  if (typeof flag === "string") return flag;
  return io.env.SLUICE_ADDRESS || defaultAddress;
}

/** Opens a connection for the time of `use`. */
export async function withServer<T>(address: string, use: (connection: Connection) => Promise<T>): Promise<T> {
  const { connectClient } = await import("../transport/client.ts");
  const connection = connectClient(address, { timeoutMs: answerTimeoutMs });
  try {
    return await use(connection);
  } finally {
    connection.close();
  }
}
