import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FakeNvidiaSmi, gpuUuid } from "../fakes/nvidia-smi/fake.ts";
import { type Server, startServer } from "../process/support/server.ts";
import { type Line, startLine } from "./line.ts";
import { type NewerServer, startNewerServer } from "./newer-server.ts";
import type { Scenario } from "./scenario-file.ts";

const plugins = fileURLToPath(new URL("plugins", import.meta.url));

/** A server for one scenario, with every door that a client may take to it. `await using` ends it. */
export class Stage implements AsyncDisposable {
  readonly #dir = mkdtempSync(join(tmpdir(), "sluice-clients-"));
  readonly #fake: FakeNvidiaSmi | undefined;
  readonly #flags: readonly string[];
  #server: Server | undefined;
  #line: Line | undefined;
  #webLine: Line | undefined;
  #newer: NewerServer | undefined;
  #grpc = "";
  #web = "";

  private constructor({ server = {} }: Scenario) {
    const { machine, durable, flags = [] } = server;
    if (machine !== undefined) {
      this.#fake = new FakeNvidiaSmi({
        gpus: machine.map((totalMb, index) => ({ uuid: gpuUuid(index), totalMb, reservedMb: 0 })),
      });
    }
    this.#flags = [
      ...(this.#fake === undefined ? [] : ["--nvidia-smi", this.#fake.path, "--sample-period", "200"]),
      ...(this.#fake !== undefined || flags.includes("--simulate") ? [] : ["--simulate", "24576"]),
      ...["--state", durable ? join(this.#dir, "state") : ":memory:"],
      ...flags.map((flag) => flag.replace("{plugins}", plugins)),
    ];
  }

  static async open(scenario: Scenario): Promise<Stage> {
    const stage = new Stage(scenario);
    try {
      stage.#server = await stage.#start("127.0.0.1:0", "127.0.0.1:0");
      stage.#grpc = stage.#server.grpc;
      stage.#web = new URL(stage.#server.web).host;
      stage.#line = await startLine(stage.#grpc);
      stage.#webLine = await startLine(stage.#web);
      stage.#newer = await startNewerServer(stage.#grpc);
      return stage;
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The address of each door, by the name that scenarios have for it. */
  doors(): Record<string, string> {
    return {
      grpc: this.#grpc,
      unix: `unix:${this.#socket}`,
      line: this.#line?.address ?? "",
      newer: this.#newer?.address ?? "",
      web: `http://${this.#web}`,
      "web-line": `http://${this.#webLine?.address}`,
    };
  }

  /** Does what a scenario asks of the world around the client. */
  async act(deed: string, argument: unknown): Promise<void> {
    switch (deed) {
      case "cut":
        for (const line of [this.#line, this.#webLine]) line?.cut();
        return;
      case "hang":
        for (const line of [this.#line, this.#webLine]) line?.hang();
        return;
      case "mend":
        for (const line of [this.#line, this.#webLine]) line?.mend();
        return;
      case "drain":
        return this.#server?.kill("SIGTERM");
      case "restart":
        this.#server?.kill("SIGKILL");
        await this.#server?.process.end;
        this.#server = await this.#start(this.#grpc, this.#web);
        return;
      case "occupy":
        return this.#occupy(argument as { pid: number; vram_mb: number });
      default:
        throw new Error(`the driver cannot "${deed}"`);
    }
  }

  /** What the server said, for whoever looks into a failure. */
  log(): string {
    return this.#server?.process.err() ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#newer?.[Symbol.asyncDispose]();
    await this.#line?.[Symbol.asyncDispose]();
    await this.#webLine?.[Symbol.asyncDispose]();
    await this.#server?.stop();
    this.#fake?.dispose();
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  get #socket(): string {
    return join(this.#dir, "door");
  }

  #start(grpc: string, web: string): Promise<Server> {
    return startServer(["--grpc", grpc, "--web", web, "--grpc", `unix:${this.#socket}`, ...this.#flags]);
  }

  /** A process is seen to have memory on the first GPU of the pretended machine. */
  #occupy({ pid, vram_mb }: { pid: number; vram_mb: number }): void {
    const fake = this.#fake;
    if (fake === undefined) throw new Error("only a scenario with a machine can have memory occupied");
    fake.update((state) => {
      state.processes = [{ pid, gpuUuid: gpuUuid(0), usedMb: vram_mb }].filter((p) => p.usedMb > 0);
    });
  }
}
