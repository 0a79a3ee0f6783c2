import { randomFillSync } from "node:crypto";

/** 32 characters that survive a terminal, a file name and a voice. */
const alphabet = "abcdefghjkmnpqrstvwxyz0123456789";
const idLength = 16;
/** To ask the kernel for each would take longer than to decide about most requests. */
const pool = Buffer.alloc(256 * idLength);
let used = pool.length;

/** 80 random bits in 16 characters. */
export function freshId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  let id = "";
  for (const end = used + idLength; used < end; used++) id += alphabet.charAt((pool[used] ?? 0) & 31);
  return id;
}
