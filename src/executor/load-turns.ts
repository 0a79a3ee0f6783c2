interface Turn {
  readonly gpus: readonly string[];
  readonly alone: boolean;
  readonly go: () => void;
}

/**
 * Takes turns where that was asked for: a program that looks at free memory while it starts must not be alone with a number that
 * somebody else is changing (X1). Loads and evictions share a GPU; one that wants it alone waits until all before it have left, and
 * whoever comes after it waits for it, in the order in which they came.
 */
export class LoadTurns {
  readonly #active = new Set<Turn>();
  readonly #waiting: Turn[] = [];

  /**
   * Resolves when it is this one's turn on all of these GPUs, with the function that leaves again (idempotent). Rejects with the
   * signal's reason.
   */
  enter(gpus: readonly string[], alone: boolean, signal?: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason);
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(signal?.reason);
        this.#look();
      };
      const turn: Turn = {
        gpus,
        alone,
        go: () => {
          signal?.removeEventListener("abort", giveUp);
          this.#active.add(turn);
          resolve(() => {
            if (this.#active.delete(turn)) this.#look();
          });
        },
      };
      signal?.addEventListener("abort", giveUp, { once: true });
      this.#waiting.push(turn);
      this.#look();
    });
  }

  #look(): void {
    for (const turn of [...this.#waiting]) {
      const earlier = this.#waiting.slice(0, this.#waiting.indexOf(turn));
      if ([...this.#active, ...earlier].some((other) => inTheWay(turn, other))) continue;
      this.#waiting.splice(earlier.length, 1);
      turn.go();
    }
  }
}

function inTheWay(a: Turn, b: Turn): boolean {
  return (a.alone || b.alone) && a.gpus.some((gpu) => b.gpus.includes(gpu));
}
