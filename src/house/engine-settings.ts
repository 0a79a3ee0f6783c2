import type { ServeConfig } from "../config/settings.ts";
import type { Millis } from "../engine/sample.ts";
import { defaultSettings, type EngineSettings, type Margin } from "../engine/settings.ts";

/**
 * The engine's settings out of the server's.
 * @param startedAt the first token is made of it, so that tokens rise over a restart although nothing is stored: a thousand
 * grants for each millisecond of a server's life cannot be made.
 */
export function engineSettings(config: ServeConfig, startedAt: Millis): EngineSettings {
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
    firstToken: Math.floor(startedAt) * 1_000,
  };
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
