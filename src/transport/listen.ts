import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { chmodSync, existsSync, lstatSync, rmSync } from "node:fs";
import { connect, isIP, type Server } from "node:net";
import { dirname } from "node:path";
import { type Failure, invalidArgument } from "../engine/failure.ts";
import { type Address, formatAddress, parseAddress } from "./address.ts";

/** A place that is listened on. */
export interface Listening {
  /** The address as it was asked for, with the port that was taken. */
  readonly address: string;
  /** The host names and addresses that it is bound to, or none for a Unix socket. */
  readonly hosts: readonly string[];
  readonly servers: readonly Server[];
  /** Takes no new connections; those that are open stay. */
  close(): void;
}

/**
 * Listens on an address. A name is listened on at everything that it stands for ("localhost" is 127.0.0.1 and often ::1
 * too). A Unix socket is made for its owner alone; one that a dead server left behind is replaced.
 * @param field the flag or field that the address came from, named in the failure.
 * @param makeServer makes one server; a name may need several.
 * @throws Failure INVALID_ARGUMENT that says in plain words why not.
 */
export async function listen(text: string, field: string, makeServer: () => Server): Promise<Listening> {
  const address = parseAddress(text, field);
  const servers: Server[] = [];
  const close = () => {
    for (const server of servers) server.close();
  };
  try {
    if (address.kind === "unix") {
      servers.push(await listenUnix(address.path, field, makeServer()));
      return { address: formatAddress(address), hosts: [], servers, close };
    }
    const { port, hosts } = await listenTcp(address, field, makeServer, servers);
    return { address: formatAddress({ ...address, port }), hosts: [address.host, ...hosts], servers, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function listenTcp(address: Address & { kind: "tcp" }, field: string, makeServer: () => Server, servers: Server[]) {
  let { port } = address;
  const hosts: string[] = [];
  let refused: Failure | undefined;
  for (const host of await resolve(address.host, field)) {
    const server = makeServer();
    try {
      server.listen({ host, port });
      await once(server, "listening");
    } catch (error) {
      refused = explain(error, field, formatAddress({ ...address, port }));
      // A name may stand for an address family that this machine does not have. A port that is taken on one of them is
      // another matter: clients would reach whichever server their family leads to.
      if (codeOf(error) === "EADDRNOTAVAIL" || codeOf(error) === "EAFNOSUPPORT") continue;
      throw refused;
    }
    servers.push(server);
    hosts.push(host);
    const bound = server.address();
    if (typeof bound === "object" && bound !== null) port = bound.port;
  }
  if (hosts.length === 0) throw refused ?? invalidArgument({ field, description: `${address.host} stands for no address` });
  return { port, hosts };
}

async function resolve(host: string, field: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    const found = await lookup(host, { all: true });
    return [...new Set(found.map((one) => one.address))];
  } catch {
    throw invalidArgument({ field, description: `the name ${host} cannot be resolved; use an IP address` });
  }
}

/** sockaddr_un holds 108 bytes with its end on Linux, 104 on macOS. */
const maxPathBytes = process.platform === "darwin" ? 103 : 107;

async function listenUnix(path: string, field: string, server: Server): Promise<Server> {
  if (Buffer.byteLength(path) > maxPathBytes) {
    throw invalidArgument({
      field,
      description: `the path ${path} is too long for a Unix socket; at most ${maxPathBytes} bytes`,
    });
  }
  // Node says EACCES for this too.
  if (!existsSync(dirname(path))) throw explain({ code: "ENOENT" }, field, `unix:${path}`);
  await removeStale(path, field);
  try {
    // listen() binds before it returns, so that the mask is in place for that instant only and for nothing else.
    const mask = process.umask(0o177);
    try {
      server.listen({ path });
    } finally {
      process.umask(mask);
    }
    await once(server, "listening");
    chmodSync(path, 0o600);
  } catch (error) {
    throw explain(error, field, `unix:${path}`);
  }
  return server;
}

/** Removes the socket of a server that is dead. Anything else that is in the way stays and is told. */
async function removeStale(path: string, field: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw invalidArgument({ field, description: `${path} exists and is not a socket; remove it or choose another path` });
  }
  const answer = await knock(path);
  if (answer === "ECONNREFUSED") rmSync(path, { force: true });
  else if (answer === "connected") throw explain({ code: "EADDRINUSE" }, field, `unix:${path}`);
  else if (answer !== "ENOENT") throw explain({ code: answer }, field, `unix:${path}`);
}

function knock(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const answer = (word: string) => {
      socket.destroy();
      resolve(word);
    };
    socket.once("connect", () => answer("connected"));
    socket.once("error", (error) => answer(codeOf(error)));
    // Somebody who has the socket open but does not accept is alive all the same.
    socket.setTimeout(1_000, () => answer("connected"));
  });
}

function explain(error: unknown, field: string, address: string): Failure {
  const code = codeOf(error);
  const description = {
    EADDRINUSE: `${address} is in use by another program; end it or choose another address`,
    EACCES: `there is no permission to listen on ${address}; choose a port above 1023, or a folder that you may write to`,
    EPERM: `there is no permission to listen on ${address}; choose a port above 1023, or a folder that you may write to`,
    EADDRNOTAVAIL: `${address} is not an address of this machine; use 127.0.0.1 or one that it has`,
    ENOENT: `the folder of ${address} does not exist; make it first`,
    ENOTDIR: `the folder of ${address} is not a folder`,
    EROFS: `the folder of ${address} cannot be written to`,
  }[code];
  return invalidArgument({ field, description: description ?? `cannot listen on ${address} (${code})` });
}

function codeOf(error: unknown): string {
  return typeof error === "object" && error !== null && "code" in error ? String(error.code) : String(error);
}
