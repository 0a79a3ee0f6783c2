import { setFlagsFromString } from "node:v8";

/**
 * By how much what is alive may be outgrown before V8 collects all of it, in percent. Left to itself it lets the heap grow to three
 * times of what is alive: with ten thousand who wait, 40 KiB for each instead of 20, for a fifth less time in collections.
 */
const growthPercent = 25;

/** From now on the heap stays close to what is alive. A Node that does not know the flag ignores it with a line on stderr. */
export function keepHeapSmall(): void {
  setFlagsFromString(`--heap-growing-percent=${growthPercent}`);
}
