import type { LeaseView } from "../engine/types.ts";
import type { QueuePlace } from "./admission.ts";
import type { Waiter } from "./waiter.ts";

/** Those who wait for one worker, in the order in which they came. */
export class Waiters {
  readonly #list: Waiter[] = [];

  get first(): Waiter | undefined {
    return this.#list[0];
  }

  get size(): number {
    return this.#list.length;
  }

  add(waiter: Waiter): void {
    this.#list.push(waiter);
  }

  /** Answers it when it still waited. */
  take(waiter: Waiter): Waiter | undefined {
    const at = this.#list.indexOf(waiter);
    return at < 0 ? undefined : this.#list.splice(at, 1)[0];
  }

  takeAll(): Waiter[] {
    return this.#list.splice(0);
  }

  takeLate(): Waiter[] {
    const late = this.#list.filter((w) => w.isLate());
    for (const waiter of late) this.take(waiter);
    return late;
  }

  /** They wait for the same thing, so they stand at the same place. */
  tellPlace(place: QueuePlace): void {
    for (const waiter of this.#list) waiter.queued(place);
  }

  tellAdmitted(lease: LeaseView, env: Readonly<Record<string, string>>): void {
    for (const waiter of this.#list) waiter.admitted(lease, env);
  }

  tellLoading(message: string): void {
    for (const waiter of this.#list) waiter.loading(message);
  }

  tellTriesAgain(): void {
    for (const waiter of this.#list) waiter.triesAgain();
  }

  tellLog(line: string, stderr: boolean): void {
    for (const waiter of this.#list) waiter.log(line, stderr);
  }

  /** Undefined when every one of them can be told more; else a promise of when. */
  ready(): Promise<void> | undefined {
    const waits = this.#list.map((w) => w.ready()).filter((p) => p !== undefined);
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => {});
  }
}
