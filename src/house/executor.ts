import type { ServeConfig } from "../config/settings.ts";
import type { ProcessKey } from "../engine/sample.ts";
import { CommandRunner } from "../executor/command-runner.ts";
import { Executor } from "../executor/executor.ts";
import { Leftovers } from "../executor/leftovers.ts";
import { LoadTurns } from "../executor/load-turns.ts";
import type { MemoryProfiles } from "../executor/memory-profile.ts";
import { rememberKills } from "../executor/oom-kills.ts";
import { processRegister } from "../executor/process-register.ts";
import type { Registry } from "../executor/registry.ts";
import { Residents } from "../executor/residents.ts";
import { executorAdmission } from "../gate/admission.ts";
import type { Gate } from "../gate/gate.ts";
import type { LeaseMemory } from "../gate/lease-memory.ts";
import { CgroupReader } from "../monitor/cgroup.ts";
import type { Log } from "../observe/log.ts";

/** Time that a plugin gets to end by itself after SIGTERM, in ms. */
const killGraceMs = 5_000;

export interface ExecutorRooms {
  readonly gate: Gate;
  readonly registry: Registry;
  readonly memory: LeaseMemory;
  readonly profiles: MemoryProfiles;
  address(): string;
  processKey(pid: number): ProcessKey | undefined;
}

/**
 * Puts together what runs plugins.
 * @param stateDir folder for the list of workers that run; undefined: none is kept.
 */
export async function openExecutor(
  config: ServeConfig,
  stateDir: string | undefined,
  rooms: ExecutorRooms,
  log: Log,
): Promise<Executor> {
  const { gate, registry, memory, profiles, address, processKey } = rooms;
  const onError = (err: unknown) => log.error({ err }, "an execution could not be tidied up");
  const admission = executorAdmission({ gate, address, processKey, memory });
  const cgroup = new CgroupReader();
  const oomKills = rememberKills(
    () => cgroup.oomKills(),
    () => performance.now(),
  );
  const onWarn = (problem: string) => log.warn({ problem }, "workers are not fully guarded");
  if (stateDir !== undefined) {
    const reaped = await Leftovers.reap(stateDir, onWarn);
    if (reaped.ended + reaped.left > 0) log.warn({ ...reaped }, "workers of a server that was killed were still there");
  }
  const register = processRegister({ onWarn, ...(stateDir === undefined ? {} : { stateDir }) });
  const { learnedMemory } = config;
  const around = { admission, profiles, learnedMemory, oomKills, onError, serverEnv: process.env, killGraceMs };
  return new Executor({
    registry,
    admission,
    profiles,
    learnedMemory,
    commands: new CommandRunner({ serverEnv: process.env, killGraceMs, oomKills, register }),
    residents: new Residents({
      ...around,
      turns: new LoadTurns(),
      register,
      loadStallMs: config.loadStallMs,
      idleTtlMs: config.idleTtlMs,
      now: Date.now,
    }),
    defaultTimeoutMs: config.timeoutMs,
    onError,
  });
}
