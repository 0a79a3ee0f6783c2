import type { ServeConfig } from "../config/settings.ts";
import type { Millis } from "../engine/sample.ts";
import { defaultSettings, type EngineSettings, type Margin } from "../engine/settings.ts";

/**
 * The engine's settings out of the server's.
 * @param firstToken above every token that an earlier life of this server gave out.
 */
export function engineSettings(config: ServeConfig, firstToken: number): EngineSettings {
  return {
    ...defaultSettings,
    margin: marginOf(config.margin, defaultSettings.margin),
    ramMargin: marginOf(config.ramMargin, defaultSettings.ramMargin),
    maxSampleAgeMs: config.maxSampleAgeMs,
    whenBlind: config.whenBlind,
    maxQueue: config.maxQueue,
    maxQueuePerTenant: config.maxQueuePerTenant,
    tenantLimits: config.tenantLimits,
    discipline: config.discipline,
    maxOvertakes: config.maxOvertakes,
    fairShareHalfLifeMs: config.fairShareHalfLifeMs,
    defaultTimeoutMs: config.timeoutMs,
    defaultPollIntervalMs: config.pollIntervalMs,
    defaultTtlMs: config.leaseTtlMs,
    graceMs: config.graceTimeMs,
    claimTimeoutMs: config.claimTimeoutMs,
    minResidenceMs: config.minResidenceMs,
    evictionGraceMs: config.evictionGraceMs,
    firstToken,
  };
}

/**
 * A first token for a server that does not know what earlier lives gave out: a thousand grants for each millisecond of a server's
 * life cannot be made, so only a clock that was set back could repeat one.
 */
export function tokenOfTime(startedAt: Millis): number {
  return Math.floor(startedAt) * 1_000;
}

function marginOf(margin: ServeConfig["margin"], fallback: Margin): Margin {
  switch (margin?.kind) {
    case "mb":
      return { percent: 0, atLeastMb: margin.mb };
    case "percent":
      return { percent: margin.percent, atLeastMb: 0 };
    case undefined:
      return fallback;
  }
}
