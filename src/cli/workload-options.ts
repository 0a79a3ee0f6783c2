import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Command, InvalidArgumentError } from "commander";
import { ResourceRequirementsSchema, type Workload, WorkloadSchema } from "#gen/sluice/v1/types_pb.js";
import { exitCode } from "./exit-codes.ts";
import { CliError } from "./io.ts";

/** What `run` and `explain` can be told about a piece of work. */
export interface WorkloadOptions {
  readonly vram?: number;
  readonly ram?: number;
  readonly gpus?: number;
  readonly gpu?: readonly string[];
  readonly exclusive?: boolean;
  readonly priority?: number;
  readonly tenant?: string;
  readonly name?: string;
  readonly duration?: number;
}

/** Adds the options that describe a piece of work. */
export function addWorkloadOptions(command: Command): Command {
  return command
    .option("--vram <MIB>", "GPU memory needed on each GPU, in MiB", wholeNumber)
    .option("--ram <MIB>", "host memory needed, in MiB", wholeNumber)
    .option("--gpus <N>", "number of GPUs, all or nothing (default: 1 when GPU memory is asked for)", wholeNumber)
    .option("--gpu <UUID>", "only this GPU; may be given more than once", collect)
    .option("--exclusive", "share the GPUs with no other lease")
    .option("--priority <N>", "higher is served first, -1000 to 1000", integer)
    .option("--tenant <NAME>", "who is asking: a user, a team, a project")
    .option("--name <NAME>", "a name to recognise it by in listings")
    .option("--duration <S>", "about how long it runs, in seconds; shortens waits and makes estimates better", seconds);
}

/**
 * The workload that the options describe.
 * @throws CliError when they ask for nothing.
 */
export function workloadOf(options: WorkloadOptions, name: string): Workload {
  const uuids = [...(options.gpu ?? [])];
  const requiresGpu = (options.vram ?? 0) > 0 || (options.gpus ?? 0) > 0 || uuids.length > 0 || options.exclusive === true;
  if (!requiresGpu && (options.ram ?? 0) === 0) {
    throw new CliError(exitCode.usage, "say what it needs: --vram MIB, --ram MIB, --gpus N, or several of them");
  }
  return create(WorkloadSchema, {
    name: options.name ?? name,
    tenant: options.tenant ?? "",
    priority: options.priority ?? 0,
    ...(options.duration === undefined ? {} : { expectedDuration: durationFromMs(options.duration) }),
    resources: create(ResourceRequirementsSchema, {
      requiresGpu,
      minGpuVramMb: options.vram ?? 0,
      minSystemRamMb: options.ram ?? 0,
      gpuCount: options.gpus ?? 0,
      gpuUuids: uuids,
      exclusiveGpu: options.exclusive ?? false,
    }),
  });
}

/** For options that take a whole number from 0. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 4_294_967_295)
    throw new InvalidArgumentError("It must be a whole number from 0, without a unit.");
  return value;
}

/** For options that take a number of seconds. @returns whole milliseconds: 2.01 s are not 2009.9999999999998 ms. */
export function seconds(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text) || Number(text) > 31_622_400)
    throw new InvalidArgumentError("It must be a number of seconds from 0 to 31622400.");
  return Math.round(Number(text) * 1000);
}

/** For options that may be given more than once. */
export function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

/** For options that take a whole number. */
export function integer(text: string): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || Math.abs(value) > 2_147_483_647) throw new InvalidArgumentError("It must be a whole number.");
  return value;
}
