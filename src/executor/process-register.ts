import { Guardian } from "./guardian.ts";
import { Leftovers } from "./leftovers.ts";
import { readProcess } from "./process-tree.ts";

/** Keeps what runs known outside of this process, so that nothing of it outlives the server. Nothing here throws. */
export interface ProcessRegister {
  /**
   * A process group was started.
   * @param marker "NAME=value" of its environment that no other group has; undefined: none.
   */
  started(pid: number, marker: string | undefined): void;
  /** Nothing of it is left. */
  ended(pid: number): void;
  /** The server ends in good order. What was not told as ended is ended now. */
  close(): Promise<void>;
}

export interface ProcessRegisterOptions {
  /** Folder for what the next server has to know; undefined: nothing is recorded. `Leftovers.reap` reads it. */
  readonly stateDir?: string;
  /** Told, in plain words, of what is not guarded. */
  readonly onWarn?: (message: string) => void;
}

/** A register with a guardian, for a server that is killed, and a file, for a server that is killed together with its guardian. */
export function processRegister(options: ProcessRegisterOptions = {}): ProcessRegister {
  const onWarn = options.onWarn ?? (() => {});
  const guardian = new Guardian({ onWarn });
  const leftovers = new Leftovers(options.stateDir, onWarn);
  return {
    started: (pid, marker) => {
      const group = { pid, start: readProcess(pid)?.start, marker };
      leftovers.add(group);
      guardian.add(group);
    },
    ended: (pid) => {
      guardian.remove(pid);
      leftovers.remove(pid);
    },
    close: async () => {
      await guardian.close();
      leftovers.close();
    },
  };
}
