import type { Execution } from "./execution.ts";

const maxFinished = 1_000;
/** Results and stderr of finished executions together: 1,000 of them could be 1 GiB otherwise. */
const maxFinishedBytes = 64 * 1_048_576;

/** Remembers executions: all that run, and the last ones that finished. */
export class History {
  readonly #byId = new Map<string, Execution>();
  readonly #byRequestId = new Map<string, { readonly execution: Execution; readonly fingerprint: string }>();
  readonly #finished = new Map<Execution, number>();
  readonly #unfinished = new Map<string, number>();
  #finishedBytes = 0;

  /** @param fingerprint the same for the same request; compared when its request_id is used again. Unused without one. */
  add(execution: Execution, fingerprint: string): void {
    const { id, requestId, plugin } = execution.identity;
    this.#byId.set(id, execution);
    this.#unfinished.set(plugin, (this.#unfinished.get(plugin) ?? 0) + 1);
    if (requestId !== "") this.#byRequestId.set(requestId, { execution, fingerprint });
  }

  /** It is over. Call it once, after its ending is known. */
  finished(execution: Execution): void {
    const { plugin } = execution.identity;
    const running = (this.#unfinished.get(plugin) ?? 1) - 1;
    if (running === 0) this.#unfinished.delete(plugin);
    else this.#unfinished.set(plugin, running);
    // It never ran, and its caller was told to ask again: the same request_id must not find this no.
    if (execution.ending?.error !== undefined) this.#forgetRequest(execution);
    const bytes = sizeOf(execution);
    this.#finished.set(execution, bytes);
    this.#finishedBytes += bytes;
    for (const [oldest, size] of this.#finished) {
      if (this.#finished.size <= maxFinished && this.#finishedBytes <= maxFinishedBytes) break;
      this.#finished.delete(oldest);
      this.#finishedBytes -= size;
      this.#byId.delete(oldest.identity.id);
      this.#forgetRequest(oldest);
    }
  }

  get(id: string): Execution | undefined {
    return this.#byId.get(id);
  }

  byRequestId(requestId: string): { readonly execution: Execution; readonly fingerprint: string } | undefined {
    return this.#byRequestId.get(requestId);
  }

  /** Newest first. */
  list(): Execution[] {
    return [...this.#byId.values()].reverse();
  }

  /** Those that are not over. */
  unfinished(): Execution[] {
    return [...this.#byId.values()].filter((e) => e.ending === undefined);
  }

  get unfinishedCount(): number {
    return this.#byId.size - this.#finished.size;
  }

  /** How many of a plugin run or wait. */
  unfinishedOf(plugin: string): number {
    return this.#unfinished.get(plugin) ?? 0;
  }

  #forgetRequest(execution: Execution): void {
    const { requestId } = execution.identity;
    if (this.#byRequestId.get(requestId)?.execution === execution) this.#byRequestId.delete(requestId);
  }
}

function sizeOf(execution: Execution): number {
  const outcome = execution.ending?.outcome;
  if (outcome === undefined) return 0;
  return outcome.ok ? JSON.stringify(outcome.result).length : (outcome.failure.stderrTail?.length ?? 0);
}
