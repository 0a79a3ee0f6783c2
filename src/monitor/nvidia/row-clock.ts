import type { Millis } from "../../engine/sample.ts";

/** A read this large may have left something in the pipe, so it proves nothing about when the rest was written. */
const fullRead = 65_536;

/**
 * Answers how old the rows of a stream are.
 *
 * nvidia-smi stamps a row when it begins with it, before it reads the memory, so the stamp is what is wanted; but it is wall
 * time, may have been printed long before it was read here, and may be nonsense (TZ ignored, clock set). There is also a bound
 * that needs no clock but ours. Count only the reads that complete a line: a row that comes with read k was begun after the
 * row before it was written, and that one was not in read k−2 yet, so it was begun after read k−2. A stamp between that bound
 * and the arrival is believed; for any other the bound itself is the answer. It is older than the truth, never younger.
 */
export class RowClock {
  #bound: Millis;
  #previousRead: Millis;

  /** @param startedAt engine time before the child was started. */
  constructor(startedAt: Millis) {
    this.#bound = startedAt;
    this.#previousRead = startedAt;
  }

  /**
   * @param arrivedAt engine time at which this read came in
   * @param completesLine whether a line ended in it
   * @param wallNow wall time of the same moment
   * @returns what turns a row's stamp into the earliest engine time that its figures may be from.
   */
  read(arrivedAt: Millis, bytes: number, completesLine: boolean, wallNow: number): (stamp: number | undefined) => Millis {
    const bound = this.#bound;
    if (completesLine && bytes < fullRead) {
      this.#bound = this.#previousRead;
      this.#previousRead = arrivedAt;
    }
    return (stamp) => {
      if (stamp === undefined) return bound;
      const at = arrivedAt - (wallNow - stamp);
      return at >= bound && at <= arrivedAt ? at : bound;
    };
  }
}
