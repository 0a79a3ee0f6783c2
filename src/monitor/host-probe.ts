import type { HostSample, Mib, ProcessKey } from "../engine/sample.ts";

/** Reads the host's memory and CPU, as they are in this container. */
export interface HostProbe {
  /**
   * One reading: the host, and the memory (proportional set size, so that shared pages are counted once) of each given process
   * tree. A tree that cannot be measured is absent. Never rejects: what cannot be read is absent.
   */
  read(trees: readonly ProcessKey[]): Promise<{ readonly host: HostSample; readonly treeRam: ReadonlyMap<ProcessKey, Mib> }>;
}

/** Looks at processes of this PID namespace. Synchronous, because it reads only /proc. */
export interface ProcessTable {
  /** Identity of a running process; undefined when there is none with this pid (a zombie counts as none). */
  key(pid: number): ProcessKey | undefined;
  /** The process, its parent and so on up, as far as they can be seen; empty when the process is not visible. */
  lineage(pid: number): readonly ProcessKey[];
  /** True while this very process runs; false once it has ended, is a zombie, or its pid belongs to another. */
  alive(key: ProcessKey): boolean;
  /** The process and all its descendants, parents first. */
  tree(key: ProcessKey): readonly number[];
}
