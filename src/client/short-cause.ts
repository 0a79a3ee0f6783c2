/** The cause out of what grpc-js says about a connection that it did not get. */
export function shortCause(message: string): string {
  return message.replace(/^No connection established\. Last error: (Error: )?/, "").replace(/\.? *Resolution note:.*$/, "");
}
