import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type MethodImplSpec, type ServiceImplSpec } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { errorDomain, toConnectError } from "../api/errors.ts";
import { Failure } from "../engine/failure.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics, RpcMetrics } from "../observe/metrics.ts";
import { codeName, GuardedStream } from "./guarded-stream.ts";

/**
 * What stands between the doors and the implementations, the same for both doors: who may call and how much (not yet),
 * which errors leave the house, what is counted, and who is still let in while the server drains.
 */
export interface Guard {
  /** The same service, guarded. */
  wrap(spec: ServiceImplSpec): ServiceImplSpec;
  /**
   * What a caller is told about something that was thrown. A Failure goes through the one table, a ConnectError of our own
   * passes, everything else becomes INTERNAL with an id under which the log has the whole of it.
   */
  toError(thrown: unknown, rpc: string): ConnectError;
  /** From now on new calls are refused with DRAINING, except those that look, or that give something back. */
  drain(): void;
}

/** Services that a client needs to see how the server is, also while it drains. */
const infrastructure = new Set([
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
]);

/** Calls that holders need to finish what they have, and calls that only look. */
const allowedWhileDraining =
  /^(?:ReleaseLease|RenewLease|FinishExecution|CancelTicket|CancelExecution|Explain|(?:Get|List).*)$/;

/** Makes the guard of one server. */
export function createGuard(options: { readonly log: Log; readonly metrics: Metrics }): Guard {
  const { log, metrics } = options;
  let draining = false;

  function toError(thrown: unknown, rpc: string): ConnectError {
    if (thrown instanceof Failure) return wellFormed(toConnectError(thrown));
    // What another server told us may name its machines and files; it is not ours to pass on.
    if (thrown instanceof ConnectError && !thrown.isWireError) return wellFormed(thrown);
    const id = randomUUID();
    log.error({ err: thrown, id, rpc }, "internal error");
    const error = new ConnectError(`internal error, id ${id}; the server's log has more`, Code.Internal);
    error.details = [
      { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { reason: "INTERNAL", domain: errorDomain, metadata: { id } }) },
    ];
    return error;
  }

  /** What was thrown while a call was being ended is most often the ending itself. */
  function endOf(thrown: unknown, context: HandlerContext, rpc: string): ConnectError {
    const { signal } = context;
    if (signal.aborted && (thrown === signal.reason || isAbort(thrown))) return endedBy(signal);
    return toError(thrown, rpc);
  }

  function admit(exempt: boolean): void {
    // Who is calling and whether they may is decided here, before anything of the request is looked at.
    if (draining && !exempt)
      throw new Failure("DRAINING", "the server is shutting down; try again in a moment, or with another server");
  }

  function guardMethod(method: MethodImplSpec): MethodImplSpec {
    const service = method.method.parent.typeName;
    const rpc = `${service}/${method.method.name}`;
    const counters = metrics.rpc(rpc);
    const exempt = infrastructure.has(service) || allowedWhileDraining.test(method.method.name);
    switch (method.kind) {
      case "unary":
        return { ...method, impl: guardUnary(method.impl, rpc, counters, exempt) };
      case "server_streaming":
        return { ...method, impl: guardStream(method.impl, rpc, counters, exempt) };
      case "bidi_streaming":
        return { ...method, impl: guardStream(method.impl, rpc, counters, exempt) };
      default:
        throw new Error(`${rpc} sends a stream and is answered once, which neither door serves`);
    }
  }

  function guardUnary<I, O>(
    impl: (request: I, context: HandlerContext) => O | Promise<O>,
    rpc: string,
    counters: RpcMetrics,
    exempt: boolean,
  ) {
    return async (request: I, context: HandlerContext): Promise<O> => {
      const started = performance.now();
      try {
        admit(exempt);
        const response = await impl(request, context);
        counters.done("OK", (performance.now() - started) / 1000);
        return response;
      } catch (thrown) {
        const error = endOf(thrown, context, rpc);
        counters.done(codeName(error.code), (performance.now() - started) / 1000);
        throw error;
      }
    };
  }

  function guardStream<I, O>(
    impl: (request: I, context: HandlerContext) => AsyncIterable<O>,
    rpc: string,
    counters: RpcMetrics,
    exempt: boolean,
  ) {
    // Not made for each stream: it would keep the request for as long as that lasts.
    const endOfThis = (thrown: unknown, context: HandlerContext) => endOf(thrown, context, rpc);
    return (request: I, context: HandlerContext): AsyncIterable<O> =>
      new GuardedStream(
        () => {
          admit(exempt);
          return impl(request, context)[Symbol.asyncIterator]();
        },
        context,
        counters,
        endOfThis,
      );
  }

  return {
    wrap: (spec) => ({
      service: spec.service,
      methods: Object.fromEntries(Object.entries(spec.methods).map(([name, method]) => [name, guardMethod(method)])),
    }),
    toError,
    drain() {
      draining = true;
    },
  };
}

/** The same error without halves of surrogate pairs, which JSON can carry into a message but no header out again. */
function wellFormed(error: ConnectError): ConnectError {
  if (!/\p{Surrogate}/u.test(error.rawMessage)) return error;
  const copy = new ConnectError(Buffer.from(error.rawMessage).toString(), error.code, error.metadata);
  copy.details = error.details;
  return copy;
}

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === "AbortError" || thrown.name === "TimeoutError");
}

/** Why a call was ended from outside: its deadline, or its client. */
export function endedBy(signal: AbortSignal): ConnectError {
  const { reason } = signal;
  if (reason instanceof ConnectError && (reason.code === Code.DeadlineExceeded || reason.code === Code.Canceled)) return reason;
  return new ConnectError("the call was cancelled", Code.Canceled);
}
