import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A line to a server that can break or fall silent. */
export interface Line extends AsyncDisposable {
  /** `host:port` to connect to. */
  readonly address: string;
  /** Breaks every connection; new ones can be made. */
  cut(): void;
  /** From now on nothing passes, not even the end of a connection, until mend(). New connections are silent too. */
  hang(): void;
  /** Lets new connections through again; those that hung are broken. */
  mend(): void;
}

/** Starts a line to `target` (`host:port`). */
export async function startLine(target: string): Promise<Line> {
  const [host = "", port = ""] = target.split(":");
  const sockets = new Set<Socket>();
  let silent = false;
  const breakAll = () => {
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  };
  const server = createServer((client) => {
    const upstream = connect({ host, port: Number(port) });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      // What comes while it is silent is read and thrown away: the sender's kernel goes on acknowledging, as with a frozen peer.
      from.on("data", (chunk) => {
        if (!silent) to.write(chunk);
      });
      from.on("close", () => {
        sockets.delete(from);
        if (!silent) to.destroy();
      });
      from.on("error", () => {});
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    address: `127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    cut: breakAll,
    hang: () => {
      silent = true;
    },
    mend: () => {
      silent = false;
      breakAll();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      breakAll();
    },
  };
}
