import { randomFillSync } from "node:crypto";

/** 32 characters that survive a terminal, a file name and a voice. */
const alphabet = Buffer.from("abcdefghjkmnpqrstvwxyz0123456789");
const idLength = 16;
/** To ask the kernel for each would take longer than to decide about most requests. */
const pool = Buffer.alloc(256 * idLength);
let used = pool.length;

/** 80 random bits in 16 characters. */
export function freshId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    for (let i = 0; i < pool.length; i++) pool[i] = alphabet[(pool[i] ?? 0) & 31] ?? 0;
    used = 0;
  }
  used += idLength;
  return pool.toString("latin1", used - idLength, used);
}
