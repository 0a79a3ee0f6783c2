import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs, durationMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { type Lease, LeaseEnd } from "#gen/sluice/v1/types_pb.js";
import { shortCause } from "../../client/short-cause.ts";
import { whyEnded } from "../../client/why-ended.ts";
import { age, clean } from "../text.ts";

/** How a lease that nobody says the ttl of is taken. */
const defaultTtlMs = 60_000;

/** A lease that is being kept alive. */
export interface LeaseKeeper {
  /** True when the lease is known to have ended although nobody here gave it back. */
  readonly lost: boolean;
  /** Stops renewing. The lease is not given back. */
  stop(): Promise<void>;
}

/**
 * Renews a lease three times in its time to live, and listens to what the server says about it. Time is measured by this
 * process's monotonic clock from before each renewal was sent, so the lease is given up here no later than the server ends it.
 *
 * A lease that is lost is told once, and that is all: what runs on it is not stopped, because most work survives, and the
 * server counts its memory as foreign use from then on.
 * @param grantedAt performance.now() when the lease was heard of.
 * @param tell says a sentence to whoever started the command.
 */
export function keepLease(
  scheduler: Client<typeof SchedulerService>,
  lease: Lease,
  grantedAt: number,
  tell: (sentence: string) => void,
): LeaseKeeper {
  const stopped = new AbortController();
  const { signal } = stopped;
  const ttlMs = lease.ttl === undefined ? defaultTtlMs : durationMs(lease.ttl);
  let lost = false;

  const lose = (why: string) => {
    if (lost || signal.aborted) return;
    lost = true;
    tell(
      `the lease ${lease.id} is lost: ${why.replace(/\.$/, "")}. The command goes on, but its memory is no longer reserved; others may be admitted to it`,
    );
    stopped.abort();
  };

  async function renew(): Promise<void> {
    let deadline = grantedAt + ttlMs;
    let troubled = false;
    let pause = ttlMs / 3;
    while (await sleep(pause, signal)) {
      const sentAt = performance.now();
      if (sentAt >= deadline) return lose("the server could not be reached in time to renew it");
      try {
        const timeoutMs = Math.max(1, Math.min(10_000, deadline - sentAt));
        await scheduler.renewLease(
          { leaseId: lease.id, token: lease.token, ttl: durationFromMs(ttlMs) },
          { signal, timeoutMs },
        );
        deadline = sentAt + ttlMs;
        pause = ttlMs / 3;
        if (troubled) tell(`the server is back; lease ${lease.id} is renewed`);
        troubled = false;
      } catch (error) {
        if (signal.aborted) return;
        if (isFinal(error)) return lose(clean(ConnectError.from(error).rawMessage));
        if (!troubled)
          tell(
            `the lease ${lease.id} could not be renewed (${clean(shortCause(ConnectError.from(error).rawMessage))}); trying again for ${age(Math.ceil((deadline - sentAt) / 1000) * 1000)}`,
          );
        troubled = true;
        pause = Math.min(1_000, ttlMs / 10);
      }
    }
  }

  async function watch(): Promise<void> {
    do {
      try {
        for await (const { event } of scheduler.watchLease({ leaseId: lease.id, token: lease.token }, { signal })) {
          if (event.case === "evictionRequested") {
            const { deadline, reason } = event.value;
            const left = deadline === undefined ? "soon" : `within ${age(timestampMs(deadline) - Date.now())}`;
            tell(`the server asks for this memory back ${left}: ${clean(reason)}`);
          } else if (event.case === "ended") {
            // The command's own end is told by its exit code.
            if (event.value.why !== LeaseEnd.PROCESS_EXITED) lose(whyEnded(event.value.why));
            return;
          }
        }
      } catch (error) {
        // A lease that is gone is told by the renewal; a server that cannot be reached too.
        if (isFinal(error)) return;
      }
    } while (await sleep(2_000, signal));
  }

  const running = Promise.all([renew(), watch()]);
  return {
    get lost() {
      return lost;
    },
    async stop() {
      stopped.abort();
      await running;
    },
  };
}

/** True for answers after which renewing again makes no sense. */
function isFinal(error: unknown): boolean {
  return (
    error instanceof ConnectError &&
    [Code.NotFound, Code.FailedPrecondition, Code.InvalidArgument, Code.Unimplemented].includes(error.code)
  );
}

/** False when it was cut short. */
async function sleep(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}
