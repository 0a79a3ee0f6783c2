import type { WorkerSetup } from "./context.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The version of docs/workers.md that this kit speaks. */
export const protocolVersion = 1;

/** Reads the params of `initialize`; a text says what is wrong with them. */
export function setupOf(params: Fields): WorkerSetup | string {
  const { protocol, plugin, lease, max_concurrency } = params;
  if (protocol !== protocolVersion) {
    return `This kit speaks protocol ${protocolVersion}, the server asks for ${JSON.stringify(protocol)}: update sluice.`;
  }
  if (!isFields(plugin) || !isFields(lease) || !Number.isInteger(max_concurrency) || Number(max_concurrency) < 1) {
    return "initialize needs plugin and lease (objects), and max_concurrency (at least 1).";
  }
  const gpus = Array.isArray(lease.gpus) ? lease.gpus.filter(isFields) : [];
  return {
    plugin: { name: String(plugin.name), version: String(plugin.version) },
    lease: {
      id: String(lease.id),
      token: String(lease.token),
      gpus: gpus.map((g) => ({ uuid: String(g.uuid), index: Number(g.index), vramMb: Number(g.vram_mb) })),
      systemRamMb: Number(lease.system_ram_mb),
    },
    maxConcurrency: Number(max_concurrency),
  };
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
