import type { ResolvedConfig } from "../config/resolve.ts";
import { mib } from "../engine/mib.ts";
import type { GpuSample, Mib } from "../engine/sample.ts";
import type { House } from "../serve.ts";
import { clean } from "./text.ts";
import { version } from "./version.ts";

/** What the server prints when it is ready: what it sees, how it decides, where it listens, and what to type next. */
export function banner({ config }: ResolvedConfig, house: House): string {
  const sample = house.monitors.sampler.latest();
  const status = house.monitors.sampler.status();
  const lines = [
    `sluice ${version} is ready`,
    ...house.doors.grpcAddresses.map((a) => row("gRPC", a)),
    row("web", house.doors.webAddress === undefined ? "off" : `http://${house.doors.webAddress}`),
    row("state", house.stateDir ?? "in memory only: leases and the queue end with this server"),
    row("policy", house.gate.policy || "unset: Allocate admits at once, WaitForResources queues"),
    row(
      "monitor",
      `${status.name}${sample?.driverVersion === undefined ? "" : `, driver ${sample.driverVersion}`}${sample?.simulated ? ", nothing here is real" : ""}`,
    ),
    ...(sample?.gpus.map(gpuRow) ?? []),
    ...(sample === undefined || sample.gpus.length > 0 ? [] : [row("GPU", sample.gpusUnknown ? "not known" : "none")]),
    row("host RAM", `${known(sample?.host?.availableMb)} available of ${known(sample?.host?.totalMb)}`),
    ...(status.healthy ? [] : [row("note", status.message)]),
    ...house.plugins.errors.map((e) => row("manifest", `${e.file}${e.field ? `: ${e.field}` : ""}: ${e.message}`)),
    "",
    "Next, in another terminal:",
    `  npx sluice run --vram 6000 -- python3 train.py`,
    `  npx sluice status`,
    "",
  ];
  const address = house.doors.grpcAddresses[0];
  if (address !== undefined && !config.grpc.includes("127.0.0.1:50051"))
    lines.splice(-3, 0, `  export SLUICE_ADDRESS=${address}`);
  return `${lines.join("\n")}\n`;
}

function gpuRow(gpu: GpuSample): string {
  const memory =
    gpu.health === "ok" || gpu.freeMb !== undefined ? `${known(gpu.freeMb)} free of ${known(gpu.totalMb)}` : "memory not known";
  return row(
    `GPU ${gpu.index}`,
    `${gpu.name || gpu.uuid}, ${memory}${gpu.health === "ok" ? "" : `, ${gpu.health}: ${gpu.healthMessage}`}`,
  );
}

function row(title: string, text: string): string {
  return `  ${title.padEnd(9)} ${clean(text)}`;
}

function known(mb: Mib | undefined): string {
  return mb === undefined ? "unknown" : mib(mb);
}
