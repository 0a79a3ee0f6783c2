import { hostInUrl } from "./address.ts";

/**
 * Decides whose requests the web door answers, by their Host header. A page on the internet can make a browser send
 * requests to this machine under the page's own name (DNS rebinding); answering only known names makes them useless.
 */
export class HostNames {
  readonly #names: Set<string>;

  /** @param names host names and IP addresses without port. */
  constructor(names: readonly string[]) {
    this.#names = new Set(["localhost", "127.0.0.1", "[::1]", ...names.map((name) => hostInUrl(name).toLowerCase())]);
    // Nobody is called so, except in attacks.
    for (const wildcard of ["0.0.0.0", "[::]"]) this.#names.delete(wildcard);
  }

  /**
   * @param host the Host header.
   * @param localAddress the address that the client connected to. It is always answered for: a name that was rebound
   * stays a name, so an address in the header was typed as one.
   */
  allows(host: string | undefined, localAddress: string | undefined): boolean {
    const name = /^(\[[0-9a-f:.%]+\]|[^:[\]\s]+)(?::\d{0,5})?$/i.exec(host ?? "")?.[1]?.toLowerCase();
    if (name === undefined) return false;
    return (
      this.#names.has(name) || (localAddress !== undefined && name === hostInUrl(localAddress.replace(/^::ffff:(?=\d)/, "")))
    );
  }
}
