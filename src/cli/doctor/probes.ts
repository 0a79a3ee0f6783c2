import type { CgroupMemory } from "../../monitor/cgroup.ts";
import type { Answer } from "../../monitor/nvidia/one-shot.ts";

/** What became of trying to listen somewhere. */
export type Listening =
  | { readonly kind: "free" }
  | { readonly kind: "in-use" }
  | { readonly kind: "failed"; readonly why: string };

/** A device file. */
export interface DeviceFile {
  readonly path: string;
  /** True when this user may read and write it. */
  readonly usable: boolean;
}

/** Everything that the doctor looks at. Nothing here judges. */
export interface Probes {
  readonly nodeVersion: string;
  /** Where nvidia-smi is; undefined when it was not found. */
  readonly nvidiaSmi: string | undefined;
  /** Asks nvidia-smi. */
  ask(args: readonly string[]): Promise<Answer>;
  /** /dev/nvidia0 and so on, /dev/nvidiactl. */
  deviceFiles(): readonly DeviceFile[];
  /** Content of a file; undefined when it cannot be read. */
  readText(path: string): string | undefined;
  exists(path: string): boolean;
  /** True when pids here are those that the driver knows. */
  inHostPidNamespace(): boolean;
  cgroup(): Promise<CgroupMemory>;
  /** Tries to listen on an address of a door. */
  listen(address: string): Promise<Listening>;
  /** True when a sluice server answers there. */
  sluiceAnswers(door: "grpc" | "web", address: string): Promise<boolean>;
}
