import type { Mib } from "./sample.ts";

/** `8,000 MiB` */
export function mib(mb: Mib): string {
  return `${String(Math.round(mb)).replace(/\B(?=(\d{3})+$)/g, ",")} MiB`;
}
