// What a program may use of this client, on Node and in browsers alike. The entries add connect().
export type { Lease as LeaseMessage, LeasedGpu, Reason, ResourceRequirements } from "#gen/sluice/v1/types_pb.js";
export type { Client, ExecuteOptions, ResourcesOptions } from "./client.ts";
export { errorFrom } from "./error-from.ts";
export {
  Draining,
  Failed,
  InvalidRequest,
  LeaseGone,
  LeaseLost,
  NeverFits,
  QueueFull,
  Refused,
  SluiceError,
  TicketCancelled,
  TimedOut,
  Unreachable,
  type Violation,
} from "./errors.ts";
export type { HoldOptions, Lease } from "./lease.ts";
export type { ConnectOptions } from "./options.ts";
export type { Asked, Needs } from "./request.ts";
export type { EvictionRequest, Waiting } from "./told.ts";
export type { OnProgress } from "./wait.ts";
