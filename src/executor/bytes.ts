/** Collects bytes up to a limit, and drops the rest. Grows as needed, so that many small pieces cost no more than few. */
export class BoundedBytes {
  readonly #max: number;
  #buffer = Buffer.alloc(0);
  #length = 0;
  #overflowed = false;

  constructor(max: number) {
    this.#max = max;
  }

  append(bytes: Uint8Array): void {
    const room = this.#max - this.#length;
    if (bytes.length > room) this.#overflowed = true;
    const taken = Math.min(bytes.length, room);
    if (taken === 0) return;
    if (this.#length + taken > this.#buffer.length) {
      const grown = Buffer.alloc(Math.min(this.#max, Math.max(1024, 2 * (this.#length + taken))));
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    this.#buffer.set(bytes.subarray(0, taken), this.#length);
    this.#length += taken;
  }

  /** True when something was dropped. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  get length(): number {
    return this.#length;
  }

  /** What was collected; valid until the next call. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
    this.#overflowed = false;
    // One long line must not hold its memory for the rest of a long run.
    if (this.#buffer.length > 65_536) this.#buffer = Buffer.alloc(0);
  }
}

/** Keeps the last bytes. */
export class TailBytes {
  readonly #max: number;
  #tail = Buffer.alloc(0);

  constructor(max: number) {
    this.#max = max;
  }

  append(bytes: Uint8Array): void {
    this.#tail = Buffer.from(Buffer.concat([this.#tail, bytes.subarray(-this.#max)]).subarray(-this.#max));
  }

  /** As text of at most as many bytes of UTF-8; what is no UTF-8 is replaced. */
  text(): string {
    const bytes = Buffer.from(afterBrokenStart(this.#tail).toString("utf8"));
    return afterBrokenStart(bytes.subarray(-this.#max)).toString("utf8");
  }
}

/** The bytes from the first whole character on. */
function afterBrokenStart(bytes: Buffer): Buffer {
  let from = 0;
  while (from < 3 && from < bytes.length && ((bytes[from] ?? 0) & 0xc0) === 0x80) from += 1;
  return bytes.subarray(from);
}

/** The first characters that fit into `max` bytes of UTF-8; what is no UTF-8 is replaced. */
export function firstText(bytes: Buffer, max: number): string {
  if (bytes.length <= max) {
    const text = bytes.toString("utf8");
    // Each byte that was replaced became three.
    if (bytes.length * 3 <= max || Buffer.byteLength(text) <= max) return text;
  }
  return wholeCharacters(Buffer.from(wholeCharacters(bytes.subarray(0, max))).subarray(0, max));
}

/** As text, without a character that is cut at the end. */
function wholeCharacters(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: true });
}
