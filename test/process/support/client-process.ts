import { fileURLToPath } from "node:url";
import { type Started, startProgram } from "./server.ts";

const program = fileURLToPath(new URL("client-program.mjs", import.meta.url));

/** What the client asks for, and how it behaves. */
export interface ClientOptions {
  readonly vramMb: number;
  readonly ttlMs: number;
  /** How often it renews; absent: never. */
  readonly renewMs?: number;
  /** It attaches its own process to its lease. */
  readonly attach?: boolean;
  readonly requestId?: string;
  readonly hold?: number;
  readonly name?: string;
}

/** One thing that a client said. */
export interface ClientEvent {
  readonly event: "queued" | "granted" | "refused" | "timedOut" | "failed" | "lost";
  readonly ticketId?: string;
  readonly leaseId?: string;
  readonly token?: string;
  readonly position?: number;
  readonly reason?: string;
  /** Of "lost": what each call that takes the token was answered; "ok" or the reason. */
  readonly renew?: string;
  readonly startExecution?: string;
  readonly attach?: string;
}

/** A client in a process of its own. `await using` kills it. */
export interface ClientProcess extends AsyncDisposable {
  readonly process: Started;
  /** The newest thing of this kind that it said. */
  said(event: ClientEvent["event"]): ClientEvent | undefined;
  /** Sends a signal to it. */
  kill(signal: NodeJS.Signals): void;
}

/** Starts a client that asks for GPU memory and waits until it has it. */
export function startClient(address: string, options: ClientOptions): ClientProcess {
  const started = startProgram(process.execPath, [program, JSON.stringify({ address, ...options })]);
  return {
    process: started,
    said: (event) =>
      started
        .out()
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as ClientEvent)
        .findLast((line) => line.event === event),
    kill: (signal) => void started.process.kill(signal),
    async [Symbol.asyncDispose]() {
      started.process.kill("SIGKILL");
      await started.end;
    },
  };
}
