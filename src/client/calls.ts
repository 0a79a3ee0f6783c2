import type { Lease } from "#gen/sluice/v1/types_pb.js";
import { linkAborts } from "./abort-link.ts";
import { notNeeded } from "./clock.ts";
import { errorFrom } from "./error-from.ts";
import { Unreachable } from "./errors.ts";
import type { Ground } from "./ground.ts";

/** How long the server may take to answer a question, in ms. */
export const answerMs = 10_000;

/** How long it may take to hear that work is over, in ms. The lease ends by itself when it does not. */
export const farewellMs = 3_000;

/**
 * One call that has to be over in time, by the client's own clock: deadlines of the stacks are of a clock that somebody may set.
 * @throws SluiceError; Unreachable when there is no answer in time, or the client is closed.
 */
export async function within<T>(
  { clock, closed, door }: Ground,
  limitMs: number,
  call: (signal: AbortSignal) => Promise<T>,
  stop?: AbortSignal,
): Promise<T> {
  if (closed.aborted) throw clientClosed();
  const link = linkAborts(stop, closed);
  const over = new AbortController();
  const late = clock.sleep(limitMs, over.signal).then((rang) => {
    if (!rang) return new Promise<never>(() => {});
    link.abort();
    throw new Unreachable(`the server at ${door.address} did not answer within ${limitMs / 1000} s`);
  });
  try {
    return await Promise.race([call(link.signal), late]);
  } catch (error) {
    if (closed.aborted) throw clientClosed();
    throw errorFrom(error, door.address);
  } finally {
    over.abort(notNeeded);
    link.letGo();
  }
}

/** Calls, and again while the server is away. What is called must bear being called twice for one effect. */
export async function again<T>(
  ground: Ground,
  limitMs: number,
  call: (signal: AbortSignal) => Promise<T>,
  stop?: AbortSignal,
): Promise<T> {
  const { clock, closed } = ground;
  const until = clock.now() + limitMs;
  for (let pauseMs = 100; ; pauseMs = Math.min(1_000, pauseMs * 2)) {
    try {
      return await within(ground, Math.max(100, until - clock.now()), call, stop);
    } catch (error) {
      const isOver = closed.aborted || stop?.aborted || clock.now() + pauseMs > until;
      if (!(error instanceof Unreachable) || isOver) throw error;
    }
    const link = linkAborts(stop, closed);
    await clock.sleep(pauseMs, link.signal);
    link.letGo();
  }
}

/** Gives back a lease that nobody holds. At worst it ends by itself. */
export async function giveBack(ground: Ground, { id: leaseId, token }: Lease): Promise<void> {
  const release = (signal: AbortSignal) => ground.scheduler.releaseLease({ leaseId, token }, { signal });
  await within(ground, farewellMs, release).catch(() => {});
}

/** What is said of calls of a client that is closed. */
export function clientClosed(): Unreachable {
  return new Unreachable("the client is closed");
}
