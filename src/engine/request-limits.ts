import type { Mib, Millis } from "./sample.ts";

/** What a request may say at most, wherever it comes from: a call, a manifest, a setting, or a list that is replayed. */

/** 16 TiB: beyond any machine, and small enough that sums stay exact and fit the wire. */
export const maxMib: Mib = 16_777_216;
export const maxGpus = 64;
/** Either way from 0. */
export const maxPriority = 1_000;
export const maxImportance = 1_000;
/** 366 days. */
export const maxDurationMs: Millis = 366 * 86_400_000;
/** Bytes of UTF-8, like those below. */
export const maxIdBytes = 128;
export const maxTenantBytes = 128;
export const maxNameBytes = 256;

/** What a request becomes that does not name itself, or who asks. */
export const unnamed = "unnamed";
export const defaultTenant = "default";

/** The end of the year 9999: as far as a Timestamp of protobuf and most calendars go. */
export const lastMoment: Millis = 253_402_300_799_999;
