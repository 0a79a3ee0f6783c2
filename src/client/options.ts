/** What `connect()` takes besides the address. */
export interface ConnectOptions {
  /**
   * How long a line may be silent before the server is asked for a sign of life, in ms; 10,000 unless said. A line without one ends
   * with Unreachable. Over http there is none: a wait there is asked again when it says nothing for 45 s.
   */
  readonly keepaliveMs?: number | undefined;
  /** Told, in a sentence, of what the program should look after: a lease that is lost, or not renewed. A process warning unless said. */
  readonly warn?: ((sentence: string) => void) | undefined;
}
