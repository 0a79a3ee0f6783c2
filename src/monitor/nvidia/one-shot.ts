import type { ChildEnd, Children } from "./child.ts";

/** What became of one question to nvidia-smi. */
export type Answer =
  /** It ended by itself; `end` may be any exit code or a failed start, and `text` may be a sentence instead of rows. */
  | { readonly kind: "ended"; readonly end: ChildEnd; readonly text: string }
  | { readonly kind: "timeout"; readonly afterMs: number }
  | { readonly kind: "overflow"; readonly bytes: number }
  /** Not asked, because a child that was told to end has not ended. */
  | { readonly kind: "barred"; readonly pid: number | undefined };

export interface Question {
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

/** One MiB is far beyond any CSV answer. */
export const csvBytes = 1 << 20;
/** `-q -x` prints up to 75 KiB for a GPU; sixteen of them must fit. */
export const xmlBytes = 4 << 20;

/** Asks nvidia-smi questions, strictly one after the other, so that there is never more than one such child. */
export class OneShots {
  readonly #children: Children;
  #last: Promise<unknown> = Promise.resolve();

  constructor(children: Children) {
    this.#children = children;
  }

  /** Never rejects. A child that takes too long or says too much is ended; the answer does not wait for its end. */
  ask(question: Question): Promise<Answer> {
    const answer = this.#last.then(() => this.#reaped()).then(() => this.#ask(question));
    this.#last = answer;
    return answer;
  }

  /** A child that was ended just now is given the time to go; one that stays longer bars this question. */
  async #reaped(): Promise<void> {
    const condemned = this.#children.condemned;
    if (!condemned) return;
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#children.reapMs);
    });
    await Promise.race([condemned.ended, limit]);
    clearTimeout(timer);
  }

  #ask({ args, timeoutMs, maxBytes }: Question): Promise<Answer> {
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      let timer: NodeJS.Timeout | undefined;
      const child = this.#children.spawn(args, (chunk) => {
        bytes += chunk.length;
        if (bytes <= maxBytes) {
          chunks.push(chunk);
          return;
        }
        chunks.length = 0;
        clearTimeout(timer);
        child?.end();
        resolve({ kind: "overflow", bytes: maxBytes });
      });
      if (!child) {
        resolve({ kind: "barred", pid: this.#children.condemned?.pid });
        return;
      }
      timer = setTimeout(() => {
        child.end();
        resolve({ kind: "timeout", afterMs: timeoutMs });
      }, timeoutMs);
      void child.ended.then((end) => {
        clearTimeout(timer);
        resolve({ kind: "ended", end, text: Buffer.concat(chunks).toString("utf8") });
      });
    });
  }
}
