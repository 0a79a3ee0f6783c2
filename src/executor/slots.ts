/** Where somebody stands who waits for a slot. */
export interface SlotPlace {
  /** 1 is next. */
  readonly position: number;
  readonly running: number;
  readonly limit: number;
}

interface Waiter {
  readonly start: (leave: () => void) => void;
  readonly tell: (place: SlotPlace) => void;
}

interface Room {
  running: number;
  readonly waiting: Waiter[];
  telling: boolean;
}

/** Lets only so many executions of a plugin in at a time; the others wait in the order in which they came. */
export class Slots {
  readonly #rooms = new Map<string, Room>();
  readonly #limitOf: (name: string) => number;

  /** @param limitOf asked again at each decision, so that a newly loaded limit counts. */
  constructor(limitOf: (name: string) => number) {
    this.#limitOf = limitOf;
  }

  /**
   * Resolves when it is this one's turn, with the function that leaves the slot again (idempotent). Tells its place at once
   * when it has to wait, and whenever that changes. Rejects with the signal's reason.
   */
  enter(name: string, signal: AbortSignal, tell: (place: SlotPlace) => void): Promise<() => void> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const room = this.#rooms.get(name) ?? { running: 0, waiting: [], telling: false };
      this.#rooms.set(name, room);
      const giveUp = () => {
        const at = room.waiting.indexOf(waiter);
        if (at < 0) return;
        room.waiting.splice(at, 1);
        reject(signal.reason);
        this.#look(name, room);
      };
      const waiter: Waiter = {
        start: (leave) => {
          signal.removeEventListener("abort", giveUp);
          resolve(leave);
        },
        tell,
      };
      signal.addEventListener("abort", giveUp, { once: true });
      room.waiting.push(waiter);
      this.#admitNext(name, room);
      const position = room.waiting.indexOf(waiter) + 1;
      if (position > 0) tell({ position, running: room.running, limit: this.#limit(name) });
    });
  }

  /** Looks at all plugins again, because limits may have changed. */
  limitsChanged(): void {
    for (const [name, room] of [...this.#rooms]) this.#look(name, room);
  }

  #limit(name: string): number {
    return Math.max(1, this.#limitOf(name));
  }

  #look(name: string, room: Room): void {
    this.#admitNext(name, room);
    if (room.waiting.length === 0 || room.telling) return;
    // Once a turn, however many came and went in it: telling all for each of them would take the square of their number.
    room.telling = true;
    setImmediate(() => {
      room.telling = false;
      const limit = this.#limit(name);
      for (const [i, waiter] of room.waiting.entries()) waiter.tell({ position: i + 1, running: room.running, limit });
    });
  }

  #admitNext(name: string, room: Room): void {
    while (room.running < this.#limit(name)) {
      const next = room.waiting.shift();
      if (next === undefined) break;
      room.running += 1;
      let left = false;
      next.start(() => {
        if (left) return;
        left = true;
        room.running -= 1;
        this.#look(name, room);
      });
    }
    if (room.running === 0 && room.waiting.length === 0) this.#rooms.delete(name);
  }
}
