import { Writable } from "node:stream";

/**
 * Keeps stdout for the protocol: answers a stream that writes to it, and sends whatever else is written to `process.stdout`, such as
 * by `console.log`, to stderr. Native code and child processes that inherit stdout still reach it.
 */
export function takeStdout(): Writable {
  const { stdout, stderr } = process;
  const write = stdout.write.bind(stdout);
  stdout.write = stderr.write.bind(stderr);
  const protocol = new Writable({
    decodeStrings: false,
    write: (chunk: string | Buffer, _encoding, done) => {
      write(chunk, (error) => done(error));
    },
  });
  stdout.on("error", (error) => protocol.destroy(error));
  return protocol;
}
