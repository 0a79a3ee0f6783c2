import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { waitFor } from "../wait-for.ts";

/** A message as it stood on the worker's stdout. */
export interface WireMessage {
  readonly jsonrpc?: string;
  readonly id?: number | string | null;
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
  readonly method?: string;
  readonly params?: { readonly execution_id?: string; readonly fraction?: number; readonly message?: string };
}

export const initializeParams = {
  protocol: 1,
  plugin: { name: "probe", version: "1.2.3" },
  lease: { id: "lease-1", token: "7", gpus: [{ uuid: "GPU-0", index: 0, vram_mb: 512 }], system_ram_mb: 64 },
  max_concurrency: 2,
};

/** A program that uses a kit, as sluice would talk to it. Every line on its stdout must be a message. */
export class KitProcess {
  readonly child: ChildProcessWithoutNullStreams;
  readonly messages: WireMessage[] = [];
  /** Lines on stdout that were no messages. */
  readonly strays: string[] = [];
  stderr = "";
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  #rest = "";
  #next = 0;

  constructor(command: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const [program = "", ...args] = command;
    // Python buffers what it prints to a pipe, unless the machine of the tests says otherwise.
    this.child = spawn(program, args, { env: { ...process.env, PYTHONUNBUFFERED: "", ...env }, stdio: "pipe" });
    this.ended = once(this.child, "close").then(([code, signal]) => ({ code, signal }));
    this.child.stdin.on("error", () => {});
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.child.stdout.setEncoding("utf8").on("data", (text: string) => this.#read(text));
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** Writes a line as it is. */
  write(line: string | Buffer): void {
    this.child.stdin.write(line);
    this.child.stdin.write("\n");
  }

  notify(method: string, params: object): void {
    this.write(JSON.stringify({ jsonrpc: "2.0", method, params }));
  }

  /** Writes a request, and answers its id. */
  ask(method: string, params?: object): number {
    this.#next += 1;
    this.write(JSON.stringify({ jsonrpc: "2.0", id: this.#next, method, params }));
    return this.#next;
  }

  answerTo(id: number | string): Promise<WireMessage> {
    return waitFor(
      () => this.messages.find((m) => m.id === id && m.method === undefined),
      `the answer to ${id}; stderr: ${this.stderr}`,
    );
  }

  async call(method: string, params?: object): Promise<WireMessage> {
    return await this.answerTo(this.ask(method, params));
  }

  /** Asks for an execution, and answers the request's id. The execution's own is `e` and that. */
  execute(args: unknown): number {
    return this.ask("execute", { execution_id: `e${this.#next + 1}`, arguments: args });
  }

  async run(args: unknown): Promise<WireMessage> {
    return await this.answerTo(this.execute(args));
  }

  notifications(method: string): WireMessage[] {
    return this.messages.filter((m) => m.method === method);
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      try {
        this.messages.push(JSON.parse(line) as WireMessage);
      } catch {
        this.strays.push(line);
      }
    }
  }

  /** Ends it, if it still runs. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}
