import { isAbsolute, join } from "node:path";
import type { ServeConfig } from "../config/settings.ts";

/** The name of the state file in its folder. */
export const stateFileName = "state.db";

/**
 * The folder for what has to outlive the server. Undefined: nothing does, because the configuration says so, the GPUs are not real
 * (promises of simulated memory mean nothing to the next life), or there is no place for it.
 *
 * Where none is named: the one that systemd gives to a service (StateDirectory=), else the user's, by the XDG base directory
 * specification (https://specifications.freedesktop.org/basedir-spec/latest/).
 */
export function stateDirOf(config: Pick<ServeConfig, "state" | "simulate">, env: NodeJS.ProcessEnv): string | undefined {
  if (config.state === ":memory:") return undefined;
  if (config.state !== "") return config.state;
  if (config.simulate !== "") return undefined;
  const ofService = env.STATE_DIRECTORY?.split(":")[0];
  if (ofService !== undefined && isAbsolute(ofService)) return ofService;
  const ofUser = env.XDG_STATE_HOME ?? "";
  if (isAbsolute(ofUser)) return join(ofUser, "sluice");
  const home = env.HOME ?? "";
  return isAbsolute(home) ? join(home, ".local", "state", "sluice") : undefined;
}
