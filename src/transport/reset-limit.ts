/**
 * How many calls one connection may cancel before HTTP/2 ends it, with everything else that runs on it. Node's own limits are against
 * peers that make work by asking and cancelling (CVE-2023-44487): 1,000 at once and 33 a second. A pipeline that gives up a few thousand
 * waits, or a gateway in front of many, does that in good faith; these are more than a server can answer.
 *
 * Known to Node from 22.14 on (nodejs/node#54875). Node 20 keeps its own limits: docs/failures.md says what happens then.
 */
export const resetLimit = { streamResetBurst: 100_000, streamResetRate: 5_000 } as const;
