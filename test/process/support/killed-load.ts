import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import type { Lease } from "#gen/sluice/v1/types_pb.js";
import { connectClient } from "../../../src/transport/client.ts";
import { gpuWork } from "./scheduler.ts";

/** What a client was told of one piece of work, and so may rely on. */
export interface ToldJob {
  readonly requestId: string;
  /** performance.now() before it asked, and when it was first told that it waits. */
  readonly askedAt: number;
  queuedAt?: number;
  ticketId?: string;
  lease?: Lease;
  /** Unfinished, as the server said. */
  executionId?: string;
  /** `unsure`: the answer to giving it back has not come. */
  given: "no" | "unsure" | "yes";
}

/**
 * One client that works all the time: asks, waits, holds, says that it runs, gives back. While the server is away it waits and goes on
 * with the same request id.
 */
export class BusyClient {
  readonly done: ToldJob[] = [];
  job: ToldJob | undefined;
  /** What went wrong that a restart does not explain. */
  error: unknown;
  readonly #name: string;
  readonly #random: () => number;
  #count = 0;

  constructor(name: string, random: () => number) {
    this.#name = name;
    this.#random = random;
  }

  /**
   * Works on one life of the server until it is gone, or until `enough` and the present job is done. What is held when it is `gone` is
   * not given back to nobody: then it would not be sure any more whether it must still be there in the next life.
   */
  async live(address: string, enough: () => boolean, gone: () => boolean = () => false): Promise<void> {
    const connection = connectClient(address, { timeoutMs: 20_000 });
    try {
      const scheduler = connection.client(SchedulerService);
      while (this.job !== undefined || !enough()) await this.#work(scheduler, gone);
    } catch (error) {
      if (!(error instanceof ConnectError && error.code === Code.Unavailable)) this.error ??= error;
    } finally {
      connection.close();
    }
  }

  async #work(scheduler: Client<typeof SchedulerService>, gone: () => boolean = () => false): Promise<void> {
    this.job ??= { requestId: `${this.#name}-${++this.#count}`, askedAt: performance.now(), given: "no" };
    const { job } = this;
    if (job.lease === undefined) await this.#ask(scheduler, job);
    const { lease } = job;
    if (lease === undefined) throw new Error(`${job.requestId} was neither granted nor told why not`);
    if (job.given === "no" && job.executionId === undefined && this.#random() < 0.5) {
      job.executionId = (await scheduler.startExecution({ leaseId: lease.id, token: lease.token })).executionId;
    }
    if (job.given === "no") await delay(this.#random() * 500);
    if (gone()) throw new ConnectError(`the server went while ${job.requestId} held its lease`, Code.Unavailable);
    job.given = "unsure";
    await scheduler.releaseLease({ leaseId: lease.id, token: lease.token });
    job.given = "yes";
    this.done.push(job);
    this.job = undefined;
  }

  async #ask(scheduler: Client<typeof SchedulerService>, job: ToldJob): Promise<void> {
    // The size belongs to the id: asked again, it must be the same work.
    const vramMb = 600 + ((this.#count * 2_713) % 4_000);
    const request = { workload: gpuWork(vramMb, { name: this.#name }), requestId: job.requestId, timeout: durationFromMs(0) };
    for await (const { event, ticketId } of scheduler.waitForResources(request)) {
      if (event.case === "granted" && event.value.lease !== undefined) job.lease = event.value.lease;
      else if (event.case === "queued") {
        job.ticketId = ticketId;
        job.queuedAt ??= performance.now();
      } else throw new Error(`${job.requestId} was told ${event.case}`);
    }
    if (job.lease === undefined) throw new ConnectError("the stream ended without an answer", Code.Unavailable);
  }
}
