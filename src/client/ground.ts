import type { DescService } from "@bufbuild/protobuf";
import type { Client as RpcClient } from "@connectrpc/connect";
import type { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import type { Clock } from "./clock.ts";

/** A way to a server. */
export interface Door {
  /** As it was given: for messages. */
  readonly address: string;
  /** The address that child processes are to use; undefined: the one that the server names in the lease. */
  readonly childAddress: string | undefined;
  /** The generated client of one service. Every error is a ConnectError; breaking out of a stream cancels the call. */
  client<Desc extends DescService>(service: Desc): RpcClient<Desc>;
  /** Ends the connection; calls that run are cancelled. */
  close(): void;
}

/** What the client needs of the world that it runs in. */
export interface Surroundings {
  readonly clock: Clock;
  /** Pid of this process, where the server knows it by that; undefined elsewhere. */
  readonly pid: number | undefined;
  /** Environment of this process that can be changed; undefined where there is none. */
  readonly environment: Record<string, string | undefined> | undefined;
  /** Says a sentence to whoever looks after the program. */
  warn(sentence: string): void;
}

/** What everything that calls the server stands on. */
export interface Ground extends Surroundings {
  readonly door: Door;
  readonly scheduler: RpcClient<typeof SchedulerService>;
  /** Aborted when the client is closed. */
  readonly closed: AbortSignal;
}
