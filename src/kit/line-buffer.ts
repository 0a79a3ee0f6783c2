const lineFeed = 0x0a;
const carriageReturn = 0x0d;
/** A buffer that grew beyond this is not kept for the next line. */
const keptBytes = 65_536;

/** A line without its end. */
export interface CutLine {
  /** The whole line, or its first bytes when it was longer than the limit. */
  readonly bytes: Buffer;
  /** True when it was longer than the limit. */
  readonly cut: boolean;
}

/**
 * Cuts bytes into lines. Holds at most `maxLineBytes`, however long a line is: of a longer one the first bytes come out as soon as
 * it is known to be too long, and the rest is dropped up to its end.
 */
export class LineBuffer {
  readonly #max: number;
  #held = Buffer.alloc(0);
  #length = 0;
  #dropping = false;

  /** @param maxLineBytes longest line that comes out whole, without its line feed. */
  constructor(maxLineBytes: number) {
    this.#max = maxLineBytes;
  }

  /**
   * Takes bytes up to the next line end, or all.
   * @returns how many were taken, and the line when one came out.
   */
  take(chunk: Buffer): { readonly taken: number; readonly line?: CutLine } {
    const end = chunk.indexOf(lineFeed);
    const piece = end < 0 ? chunk : chunk.subarray(0, end);
    const taken = end < 0 ? chunk.length : end + 1;
    if (this.#dropping) {
      if (end >= 0) this.#dropping = false;
      return { taken };
    }
    if (this.#length + piece.length > this.#max) {
      this.#hold(piece.subarray(0, this.#max - this.#length));
      this.#dropping = end < 0;
      return { taken, line: { bytes: this.#release(), cut: true } };
    }
    if (end < 0) {
      this.#hold(piece);
      return { taken };
    }
    return { taken, line: { bytes: withoutReturn(this.#length === 0 ? piece : this.#joined(piece)), cut: false } };
  }

  /** The last line when it has no end; undefined when there is none. */
  end(): CutLine | undefined {
    return this.#length === 0 ? undefined : { bytes: this.#release(), cut: false };
  }

  #joined(piece: Buffer): Buffer {
    this.#hold(piece);
    return this.#release();
  }

  /** Grows by doubling, so that many small pieces cost no more than few. */
  #hold(piece: Buffer): void {
    const length = this.#length + piece.length;
    if (length > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#max, Math.max(1_024, 2 * length)));
      this.#held.copy(grown, 0, 0, this.#length);
      this.#held = grown;
    }
    piece.copy(this.#held, this.#length);
    this.#length = length;
  }

  /** A copy of what was held, which is then forgotten. */
  #release(): Buffer {
    const bytes = Buffer.from(this.#held.subarray(0, this.#length));
    this.#length = 0;
    if (this.#held.length > keptBytes) this.#held = Buffer.alloc(0);
    return bytes;
  }
}

function withoutReturn(bytes: Buffer): Buffer {
  return bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes;
}
