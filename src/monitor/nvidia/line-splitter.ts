const newline = 0x0a;

/**
 * Cuts a stream of bytes into lines. Reads split anywhere, also between a row and its newline and inside a UTF-8 character; a
 * line counts only once its newline has come. Holds at most `maxLine` bytes, however much arrives without one.
 */
export class LineSplitter {
  readonly #maxLine: number;
  #parts: Buffer[] = [];
  #held = 0;
  #skipping = false;
  #dropped = 0;

  /** @param maxLine longest line in bytes; longer ones are dropped whole. */
  constructor(maxLine = 8192) {
    this.#maxLine = maxLine;
  }

  /** Lines that were dropped because they were too long. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Bytes kept for a line whose newline has not come yet. */
  get pendingBytes(): number {
    return this.#held;
  }

  /** The lines that this chunk completes, without their line ends. */
  push(chunk: Uint8Array): string[] {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const lines: string[] = [];
    let from = 0;
    for (;;) {
      const to = bytes.indexOf(newline, from);
      if (to < 0) break;
      this.#keep(bytes.subarray(from, to));
      if (this.#skipping) this.#skipping = false;
      else lines.push(this.#take());
      from = to + 1;
    }
    this.#keep(bytes.subarray(from));
    return lines;
  }

  #keep(part: Buffer): void {
    if (this.#skipping || part.length === 0) return;
    if (this.#held + part.length > this.#maxLine) {
      this.#skipping = true;
      this.#dropped++;
      this.#parts = [];
      this.#held = 0;
      return;
    }
    // A copy: a view would keep the whole chunk (64 KiB) alive for a tail of a few bytes.
    this.#parts.push(Buffer.from(part));
    this.#held += part.length;
  }

  #take(): string {
    const text = Buffer.concat(this.#parts).toString("utf8");
    this.#parts = [];
    this.#held = 0;
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  }
}
