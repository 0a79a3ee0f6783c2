import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  type Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "#gen/grpc/health/v1/health_pb.js";
import { Failure } from "../engine/failure.ts";

/**
 * How the server is.
 *
 * - starting: it does not take work yet. Left by serve().
 * - serving: it takes work. Left by pause() and drain().
 * - paused: it cannot take work for now. Left by serve() and drain().
 * - draining: it shuts down. Never left.
 */
export type HealthState = "starting" | "serving" | "paused" | "draining";

/**
 * The health of the server: what grpc.health.v1 and /readyz answer. It is the same for the whole server (the empty name)
 * and for each of its services.
 */
export class Health implements ServiceImpl<typeof HealthService> {
  readonly #services: ReadonlySet<string>;
  readonly #watchers = new Set<() => void>();
  #state: HealthState = "starting";

  /** @param services the full names of the services, such as "sluice.v1.SchedulerService". */
  constructor(services: readonly string[]) {
    this.#services = new Set(["", ...services]);
  }

  get state(): HealthState {
    return this.#state;
  }

  /** Work is taken from now on. Does nothing while the server drains. */
  serve(): void {
    this.#become("serving");
  }

  /** No work can be taken for now. Does nothing while the server drains. */
  pause(): void {
    this.#become("paused");
  }

  /** The server shuts down. Those who watch are told NOT_SERVING, and then that the stream is over. */
  drain(): void {
    this.#become("draining");
  }

  async check(request: HealthCheckRequest) {
    if (!this.#services.has(request.service)) throw new ConnectError("no service of that name is served here", Code.NotFound);
    return { status: this.#status() };
  }

  async list() {
    const status = this.#status();
    return { statuses: Object.fromEntries([...this.#services].map((service) => [service, { status }])) };
  }

  /** The latest status, again whenever it changes. A slow reader is told the newest one next. */
  async *watch(request: HealthCheckRequest, context: HandlerContext) {
    let told: HealthCheckResponse["status"] | undefined;
    while (!context.signal.aborted) {
      // A service that is not known may become known in other servers, so the protocol keeps the stream open.
      const status = this.#services.has(request.service) ? this.#status() : ServingStatus.SERVICE_UNKNOWN;
      if (status !== told) {
        told = status;
        yield { status };
      } else if (this.#state === "draining") {
        throw new Failure("DRAINING", "the server is shutting down; its health can be watched again once it is back");
      } else {
        await this.#change(context.signal);
      }
    }
  }

  #status(): ServingStatus {
    return this.#state === "serving" ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }

  #become(state: HealthState): void {
    if (this.#state === "draining") return;
    this.#state = state;
    for (const wake of [...this.#watchers]) wake();
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#watchers.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#watchers.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
}
