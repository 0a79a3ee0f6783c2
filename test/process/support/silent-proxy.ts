import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A proxy on the loopback that can fall silent as a cable does that is pulled out: no FIN, no RST, in neither direction. */
export interface SilentProxy extends AsyncDisposable {
  /** `host:port` to connect to. */
  readonly address: string;
  /** From now on nothing passes, not even the end of a connection. */
  cut(): void;
}

/** Starts a proxy to `target` (`host:port`). */
export async function startSilentProxy(target: string): Promise<SilentProxy> {
  const [host = "", port = ""] = target.split(":");
  const sockets = new Set<Socket>();
  let isCut = false;
  const join = (from: Socket, to: Socket) => {
    sockets.add(from);
    // What comes after the cut is read and thrown away: the sender's kernel goes on acknowledging, as with a frozen peer.
    from.on("data", (chunk) => {
      if (!isCut) to.write(chunk);
    });
    from.on("end", () => {
      if (!isCut) to.end();
    });
    from.on("error", () => {
      if (!isCut) to.destroy();
    });
  };
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host, port: Number(port), allowHalfOpen: true });
    join(client, upstream);
    join(upstream, client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    address: `127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    cut: () => {
      isCut = true;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
