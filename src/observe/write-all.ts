import { writeSync } from "node:fs";

const pause = new Int32Array(new SharedArrayBuffer(4));

/**
 * Writes text to a file descriptor before it returns. Not with process.stdout or process.stderr, because Node sets a pipe
 * that it opens as a stream to non-blocking, also for the child that shares it, and many programs cannot write to such a one.
 */
export function writeAll(fd: number, text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EAGAIN") Atomics.wait(pause, 0, 0, 5);
      // The reader has gone (`sluice leases | head -1`), or the disk is full: there is nobody left to tell.
      else return;
    }
  }
}
