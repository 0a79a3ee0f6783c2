/** Names for tickets of one tenant and one priority; the same text for the same ones, so that comparing two looks at no letter. */
export class PlanGroups {
  readonly #names = new Map<string, Map<number, string>>();

  nameOf(tenant: string, priority: number): string {
    let ofTenant = this.#names.get(tenant);
    if (ofTenant === undefined) {
      ofTenant = new Map();
      this.#names.set(tenant, ofTenant);
    }
    let name = ofTenant.get(priority);
    if (name === undefined) {
      name = [priority, tenant].join(" ");
      ofTenant.set(priority, name);
    }
    return name;
  }
}
