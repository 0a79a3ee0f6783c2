import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, type Client as RpcClient } from "@connectrpc/connect";
import { ExecutorService, type StreamExecutionResponse } from "#gen/sluice/v1/executor_pb.js";
import { MonitorService } from "#gen/sluice/v1/monitor_pb.js";
import { type ExplainResponse, SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import type { Lease as LeaseMessage } from "#gen/sluice/v1/types_pb.js";
import { linkAborts } from "./abort-link.ts";
import { again, answerMs, clientClosed, giveBack, within } from "./calls.ts";
import { notNeeded } from "./clock.ts";
import { errorFrom, failureFrom, refused } from "./error-from.ts";
import { Failed, InvalidRequest } from "./errors.ts";
import type { Door, Ground, Surroundings } from "./ground.ts";
import { type HoldOptions, Lease } from "./lease.ts";
import { type Asked, allocateMessage, durationField, type Needs, named, newRequestId, workloadOf } from "./request.ts";
import { type OnProgress, waitForLease } from "./wait.ts";

/** What `client.resources()` takes. Sizes are MiB, times ms. */
export interface ResourcesOptions extends Asked, HoldOptions {
  /**
   * False: decides at once, by the server's policy, which admits everything unless the operator chose one. Name
   * `policy: "safety"` to be refused what does not fit.
   */
  readonly wait?: boolean | undefined;
  /** Ends the wait: the request leaves the queue, and `signal.reason` is thrown. It has no effect on a lease that was answered. */
  readonly signal?: AbortSignal | undefined;
  /** Called with place and reasons on each change while it waits. What it throws ends the wait. */
  readonly onProgress?: OnProgress | undefined;
}

/** What `client.execute()` takes besides the plugin and its arguments. */
export interface ExecuteOptions {
  /** Called with each event: queued, admitted, progress, log and so on. */
  readonly onEvent?: ((event: StreamExecutionResponse) => void) | undefined;
  /** Name of the policy for this one execution. */
  readonly policy?: string | undefined;
  /** How long to wait for resources under policy queue, in ms. The server's default unless said; 0: for ever. */
  readonly timeoutMs?: number | undefined;
  readonly tenant?: string | undefined;
  /** Higher is served first; -1000 to 1000. */
  readonly priority?: number | undefined;
  /** The same id finds the same execution again. A fresh one is made unless said. */
  readonly requestId?: string | undefined;
  /** Ends the call; `signal.reason` is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/** A connection to a server. `await using` closes it. */
export class Client implements Disposable, AsyncDisposable {
  /** The server, as it was given. */
  readonly address: string;
  /** The generated clients, for everything else of the contract. Their errors are ConnectErrors; `errorFrom` says what they mean. */
  readonly scheduler: RpcClient<typeof SchedulerService>;
  readonly executor: RpcClient<typeof ExecutorService>;
  readonly monitor: RpcClient<typeof MonitorService>;

  readonly #ground: Ground;
  readonly #closing = new AbortController();

  /** Not for programs: `connect()` makes clients. */
  constructor(door: Door, surroundings: Surroundings) {
    this.address = door.address;
    this.scheduler = door.client(SchedulerService);
    this.executor = door.client(ExecutorService);
    this.monitor = door.client(MonitorService);
    this.#ground = { ...surroundings, door, scheduler: this.scheduler, closed: this.#closing.signal };
  }

  /**
   * Waits in the queue and answers the lease, which is renewed until it is given back: by `await using`, or by `lease.release()`.
   * A connection that breaks is made anew, and the place found again; a server may be away for a minute.
   * @throws Refused (NeverFits), TimedOut, QueueFull, TicketCancelled, InvalidRequest, Unreachable (Draining); `signal.reason`.
   */
  async resources(options: ResourcesOptions = {}): Promise<Lease> {
    const { signal, onProgress, wait = true } = options;
    if (options.setEnvironment && this.#ground.environment === undefined)
      throw new InvalidRequest("setEnvironment: there is no environment of a process here");
    const asked = named(options);
    const message = wait ? await waitForLease(this.#ground, asked, onProgress, signal) : await this.#allocate(asked, signal);
    const heardAt = this.#ground.clock.now();
    try {
      return await new Lease(this.#ground, message, options, heardAt).begin(signal);
    } catch (error) {
      await giveBack(this.#ground, message);
      signal?.throwIfAborted();
      throw error;
    }
  }

  /**
   * Whether resources would be granted now, and if not, why not and what would be. Nothing is asked for.
   * @throws InvalidRequest, Unreachable.
   */
  async explain(needs: Needs & Pick<Asked, "policy"> = {}): Promise<ExplainResponse> {
    const request = { workload: workloadOf(needs), policy: needs.policy ?? "" };
    return within(this.#ground, answerMs, (signal) => this.scheduler.explain(request, { signal }));
  }

  /**
   * Runs a plugin and answers its result.
   * @throws Refused when it is not admitted; Failed when it fails; InvalidRequest, Unreachable; `signal.reason`.
   */
  async execute(plugin: string, args: JsonObject = {}, options: ExecuteOptions = {}): Promise<JsonValue> {
    const { onEvent, signal, timeoutMs } = options;
    const request = {
      plugin,
      arguments: args,
      policy: options.policy ?? "",
      tenant: options.tenant ?? "",
      priority: options.priority ?? 0,
      requestId: options.requestId || newRequestId(),
      ...durationField("timeout", timeoutMs),
    };
    const call = linkAborts(signal, this.#closing.signal);
    try {
      for await (const message of this.executor.streamExecution(request, { signal: call.signal })) {
        onEvent?.(message);
        const { event } = message;
        if (event.case === "failed") throw failureFrom(event.value);
        if (event.case === "result") return event.value.result === undefined ? null : toJson(ValueSchema, event.value.result);
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (this.#closing.signal.aborted) throw clientClosed();
      // What onEvent throws is the program's own.
      throw error instanceof ConnectError ? errorFrom(error, this.address) : error;
    } finally {
      call.abort();
      call.letGo();
    }
    throw new Failed("the server ended the execution without an answer");
  }

  /** Ends the connection and the calls that run. Leases that are still held are lost; give them back before. */
  close(): void {
    this.#closing.abort();
    this.#ground.door.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  async #allocate(asked: Asked, signal: AbortSignal | undefined): Promise<LeaseMessage> {
    signal?.throwIfAborted();
    const request = allocateMessage(asked);
    const call = again(this.#ground, answerMs, (stop) => this.scheduler.allocate(request, { signal: stop }));
    const over = new AbortController();
    const cut = new Promise<never>((_, reject) => {
      // A call that is cut off may have been granted, and nobody would know of the lease; so it goes on.
      const leave = () => {
        call
          .then(({ outcome }) => (outcome.case === "lease" ? giveBack(this.#ground, outcome.value) : undefined))
          .catch(() => {});
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", leave);
      over.signal.addEventListener("abort", () => signal?.removeEventListener("abort", leave));
    });
    try {
      const { outcome } = await Promise.race([call, cut]);
      if (outcome.case === "lease") return outcome.value;
      throw refused(outcome.value);
    } finally {
      over.abort(notNeeded);
    }
  }
}
