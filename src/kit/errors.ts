import { ErrorCodes, ResponseError } from "vscode-jsonrpc/node";

/** Codes of docs/workers.md beside those of JSON-RPC. */
export const workerErrorCodes = { failed: -32000, outOfMemory: -32001, cancelled: -32800 } as const;

export type MemoryResource = "gpu" | "ram";

/** There is not enough memory. sluice ends the worker, makes room for what it needed, and tries once more. */
export class OutOfMemory extends Error {
  override readonly name = "OutOfMemory";
  readonly resource: MemoryResource;
  /** What the execution needs in all, in MiB; absent when that is not known. */
  readonly neededMb?: number;

  constructor(resource: MemoryResource = "gpu", neededMb?: number) {
    super(resource === "gpu" ? "Out of GPU memory." : "Out of memory.");
    this.resource = resource;
    if (neededMb !== undefined) this.neededMb = neededMb;
  }
}

/** The arguments are wrong; the message is told to the caller. */
export class InvalidArguments extends Error {
  override readonly name = "InvalidArguments";
}

/** The worker is no good any more: this execution fails with the message, and sluice starts the worker anew. */
export class Fatal extends Error {
  override readonly name = "Fatal";
}

/** The execution is given up because sluice asked for that; the reason of an aborted `ctx.signal`. */
export class Cancelled extends Error {
  override readonly name = "Cancelled";

  constructor(message = "The execution was cancelled.") {
    super(message);
  }
}

/** Longest text of an error, a log line or a progress message, in characters; the rest is cut. */
export const maxText = 8_192;

/**
 * The error that an exception is answered with.
 * @param cancelled whether sluice asked to give the call up: then an AbortError means that it was.
 * @param onUnexpected hears of exceptions that are none of the above.
 */
export function responseErrorOf(
  error: unknown,
  cancelled: boolean,
  onUnexpected: (error: unknown) => void,
): ResponseError<object | undefined> {
  if (error instanceof ResponseError) return error;
  if (error instanceof Cancelled) return answer(workerErrorCodes.cancelled, error.message);
  if (cancelled && error instanceof Error && error.name === "AbortError") {
    return answer(workerErrorCodes.cancelled, new Cancelled().message);
  }
  if (error instanceof InvalidArguments) return answer(ErrorCodes.InvalidParams, error.message);
  if (error instanceof Fatal) return answer(workerErrorCodes.failed, error.message, { fatal: true });
  if (error instanceof OutOfMemory) {
    const { resource, neededMb } = error;
    return answer(workerErrorCodes.outOfMemory, error.message, {
      resource,
      ...(neededMb === undefined ? {} : { needed_mb: neededMb }),
    });
  }
  onUnexpected(error);
  const resource = shortOf(error);
  return resource === undefined
    ? answer(workerErrorCodes.failed, textOf(error))
    : answer(workerErrorCodes.outOfMemory, textOf(error), { resource });
}

function answer(code: number, message: string, data?: object): ResponseError<object | undefined> {
  return new ResponseError(code, message.slice(0, maxText), data);
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === "Error" ? error.message : `${error.name}: ${error.message}`;
}

const gpuText =
  /(CUDA|HIP) out of memory|(CUDA|HIP) (error|failure \d+):? out of memory|cudaErrorMemoryAllocation|hipErrorOutOfMemory|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED: Out of memory/i;
const ramText = /^Array buffer allocation failed/;

/** Which memory an exception, or what caused it, says is short. Bindings say it in their text only. */
function shortOf(error: unknown): MemoryResource | undefined {
  let one = error;
  for (let i = 0; i < 10 && one instanceof Error; i += 1) {
    if (one instanceof OutOfMemory) return one.resource;
    if (gpuText.test(one.message)) return "gpu";
    if (one instanceof RangeError && ramText.test(one.message)) return "ram";
    one = one.cause;
  }
  return undefined;
}
