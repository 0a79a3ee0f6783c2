import type { LeaseView } from "../engine/types.ts";
import type { QueuePlace } from "./admission.ts";
import type { JsonValue } from "./json.ts";
import type { ExecutionFailure } from "./outcome.ts";

/** What happens to an execution; `result` and `failed` are last. */
export type ExecutionEvent =
  | { readonly kind: "queued"; readonly place: QueuePlace }
  | { readonly kind: "admitted"; readonly lease: LeaseView; readonly env: Readonly<Record<string, string>> }
  | { readonly kind: "loading"; readonly message: string }
  | { readonly kind: "started"; readonly pid: number }
  | { readonly kind: "progress"; readonly message: string; readonly fraction: number | undefined }
  | { readonly kind: "log"; readonly line: string; readonly stderr: boolean }
  | { readonly kind: "result"; readonly result: JsonValue }
  | { readonly kind: "failed"; readonly failure: ExecutionFailure };

/** Events that wait for one reader before the plugin has to wait for it. */
export const maxBuffered = 256;

/**
 * The way of events to one reader. Nothing is lost but an older place in the queue: whoever fills it stops at `full`, and
 * goes on when `onRoom` is called.
 */
export class EventFeed {
  readonly #buffer: ExecutionEvent[] = [];
  readonly #onRoom: () => void;
  readonly #onClose: () => void;
  #wake: () => void = () => {};
  #ended = false;
  #closed = false;
  #error: unknown;

  /** @param on.close the reader has gone, or has had the last event; called once. */
  constructor(on: { readonly room: () => void; readonly close: () => void }) {
    this.#onRoom = on.room;
    this.#onClose = on.close;
  }

  get full(): boolean {
    return !this.#closed && this.#buffer.length >= maxBuffered;
  }

  push(event: ExecutionEvent): void {
    if (this.#closed) return;
    // Only the newest place is true.
    if (event.kind === "queued" && this.#buffer.at(-1)?.kind === "queued") this.#buffer.pop();
    this.#buffer.push(event);
    this.#wake();
  }

  /** There will be no more. @param error thrown to the reader after the last event. */
  end(error?: unknown): void {
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  /** The reader has gone. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#buffer.length = 0;
    this.#wake();
    this.#onClose();
  }

  /** For one reader. */
  async *events(): AsyncGenerator<ExecutionEvent, void> {
    try {
      for (;;) {
        const event = this.#buffer.shift();
        if (event !== undefined) {
          if (this.#buffer.length === maxBuffered - 1) this.#onRoom();
          yield event;
        } else if (this.#closed) {
          return;
        } else if (this.#ended) {
          if (this.#error !== undefined) throw this.#error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.close();
    }
  }
}
