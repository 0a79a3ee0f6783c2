import { ConnectError } from "@connectrpc/connect";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { isLocal, parseAddress } from "../../transport/address.ts";
import type { Connection } from "../../transport/client.ts";
import { granted } from "../describe-work.ts";
import type { CliIo } from "../io.ts";
import { clean } from "../text.ts";
import { startChild } from "./child.ts";
import { keepLease } from "./lease-keeper.ts";
import { tellNoLease } from "./no-lease.ts";
import type { Signals } from "./signals.ts";
import { type WaitRequest, waitForLease } from "./wait.ts";
import { waitLineOn } from "./wait-line.ts";
import { startWatchdog } from "./watchdog.ts";
import { whileAway } from "./while-away.ts";

/** What to run, and on what. */
export interface Job {
  readonly request: WaitRequest;
  readonly command: string;
  readonly args: readonly string[];
  readonly address: string;
  readonly verbose: boolean;
}

/** How long the server may take to hear that a job is over before the command's code is answered without it. */
const farewellMs = 3_000;

/**
 * Waits for a lease, runs the command on it, gives it back.
 * @returns the exit code.
 */
export async function runJob(job: Job, connection: Connection, signals: Signals, io: CliIo): Promise<number> {
  const scheduler = connection.client(SchedulerService);
  const line = waitLineOn(io);
  const tell = (sentence: string) => line.note(sentence);

  const outcome = await waitForLease(scheduler, job.request, line, signals.interrupt).finally(() => line.close());
  if (outcome.kind === "interrupted") return signals.code;
  if (outcome.kind !== "granted") return tellNoLease(outcome, `, and ${clean(job.command)} was not started`, io);

  const { lease } = outcome;
  if (line.shown || job.verbose) tell(`granted ${granted(lease)}`);
  const giveBack = async () => {
    try {
      await scheduler.releaseLease({ leaseId: lease.id, token: lease.token }, { timeoutMs: farewellMs });
    } catch (error) {
      tell(`lease ${lease.id} could not be given back (${wordsOf(error)}); it ends by itself when it is not renewed`);
    }
  };
  if (signals.interrupt.aborted) {
    await giveBack();
    return signals.code;
  }

  let executionId: string;
  try {
    // One that was counted twice ends with the lease all the same.
    const start = () => scheduler.startExecution({ leaseId: lease.id, token: lease.token });
    ({ executionId } = await whileAway(start, signals.interrupt));
  } catch (error) {
    await giveBack();
    throw error;
  }
  // A signal that came during that call has nobody to go to yet.
  if (signals.interrupt.aborted) {
    await giveBack();
    return signals.code;
  }

  const watchdog = startWatchdog(io.env);
  const child = startChild(job.command, job.args, { ...io.env, ...lease.env });
  if (child.pid !== undefined) watchdog.watch(child.pid);
  signals.forwardTo((signal) => child.kill(signal));
  const keeper = keepLease(scheduler, lease, outcome.grantedAt, tell);
  const over = new AbortController();
  const attached = child.pid === undefined ? undefined : attach(child.pid);

  const end = await child.end;
  over.abort();
  watchdog.done();
  await keeper.stop();
  await attached;
  if (!keeper.lost) {
    await scheduler.finishExecution({ leaseId: lease.id, executionId }, { timeoutMs: farewellMs }).catch(() => {});
    await giveBack();
  }
  if (end.kind === "not-started") io.err(`sluice: ${clean(end.message)}\n`);
  return end.code;

  async function attach(pid: number): Promise<void> {
    if (!isLocal(parseAddress(job.address))) {
      // There the number would name some other process, or none.
      if (job.verbose) tell("the server is on another machine, so memory is not attributed to this command");
      return;
    }
    try {
      const attachTo = () => scheduler.attachProcess({ leaseId: lease.id, token: lease.token, pid }, { timeoutMs: farewellMs });
      await whileAway(attachTo, over.signal);
    } catch (error) {
      if (job.verbose) tell(`the server could not attach process ${pid} to the lease: ${wordsOf(error)}`);
    }
  }
}

function wordsOf(error: unknown): string {
  return clean(ConnectError.from(error).rawMessage);
}
