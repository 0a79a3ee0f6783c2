import { LeaseEnd } from "#gen/sluice/v1/types_pb.js";

/** Why a lease ended that its holder has not given back, in words. */
export function whyEnded(why: LeaseEnd): string {
  switch (why) {
    case LeaseEnd.RELEASED:
      return "somebody gave it back";
    case LeaseEnd.EXPIRED:
      return "it was not renewed in time";
    case LeaseEnd.EVICTED:
      return "it was taken for somebody who waited";
    case LeaseEnd.PROCESS_EXITED:
      return "every process attached to it has ended";
    default:
      return "the server ended it";
  }
}
