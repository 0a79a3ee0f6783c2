import { maxGpus, maxMib, maxTenantBytes } from "../engine/request-limits.ts";
import type { TenantLimits } from "../engine/settings.ts";
import type { Parsed, ValueType } from "./values.ts";

/** By tenant; `*`: every tenant that has no entry of its own. */
export type LimitsByTenant = ReadonlyMap<string, TenantLimits>;

/** What can be limited, as it is typed, with the largest limit that can be set. */
const keys = {
  gpus: { field: "gpus", max: 1_000_000 },
  vram: { field: "vramMb", max: maxGpus * maxMib },
  queued: { field: "queued", max: 1_000_000 },
} as const satisfies Record<string, { readonly field: keyof TenantLimits; readonly max: number }>;

type Key = keyof typeof keys;

const names = Object.keys(keys) as readonly Key[];
const example = '"vision:gpus=2,vram=40000,queued=100"';

/** Limits of tenants: `NAME:gpus=2,vram=40000,queued=100`, any of the three; as a list, or one text with semicolons between. */
export const tenantLimits: ValueType<LimitsByTenant> = {
  argument: "LIMITS",
  allowed: `limits such as ${example}; * as the name is for every tenant without limits of its own`,
  unit: "",
  shape: "list",
  separator: ";",
  parse: (raw) => {
    const items = typeof raw === "string" ? raw.split(";").map((item) => item.trim()) : raw;
    if (!Array.isArray(items) || !items.every((item): item is string => typeof item === "string")) return { ok: false };
    const limits = new Map<string, TenantLimits>();
    for (const item of items) {
      const parsed = parseOne(item);
      if (!parsed.ok) return parsed;
      const [name, its] = parsed.value;
      if (limits.has(name)) return bad(item, `tenant ${name} has limits already; give each tenant once`);
      limits.set(name, its);
    }
    return { ok: true, value: limits };
  },
  toJson: (value) => [...value].map(textOf),
};

function textOf([name, limits]: readonly [string, TenantLimits]): string {
  const given = names.filter((key) => limits[keys[key].field] !== undefined);
  return `${name}:${given.map((key) => `${key}=${limits[keys[key].field]}`).join(",")}`;
}

/** The last colon ends the name: a name may have colons in it, limits have none. */
function parseOne(item: string): Parsed<readonly [string, TenantLimits]> {
  const colon = item.lastIndexOf(":");
  if (colon < 0) return bad(item, `has no name of a tenant; write it like ${example}`);
  const name = item.slice(0, colon);
  if (name === "" || Buffer.byteLength(name) > maxTenantBytes || /[\p{Cc}\u2028\u2029]/u.test(name)) {
    return bad(item, `must begin with a tenant's name of 1 to ${maxTenantBytes} bytes without control characters, or *`);
  }
  const limits: { -readonly [K in keyof TenantLimits]: TenantLimits[K] } = {};
  for (const part of item.slice(colon + 1).split(",")) {
    const [key, value, ...more] = part.split("=").map((text) => text.trim());
    const known = names.find((candidate) => candidate === key);
    if (known === undefined || value === undefined || more.length > 0) {
      return bad(item, `${JSON.stringify(part.slice(0, 40))} in it is none of gpus=N, vram=MIB and queued=N`);
    }
    const { field, max } = keys[known];
    if (limits[field] !== undefined) return bad(item, `${known} is in it twice`);
    if (!/^\d{1,10}$/.test(value) || Number(value) > max) return bad(item, `${known} must be a whole number from 0 to ${max}`);
    limits[field] = Number(value);
  }
  return { ok: true, value: [name, limits] };
}

function bad(item: string, problem: string): Parsed<never> {
  const shown = JSON.stringify(item);
  return { ok: false, why: `${shown.length > 80 ? `${shown.slice(0, 80)}…` : shown}: ${problem}` };
}
