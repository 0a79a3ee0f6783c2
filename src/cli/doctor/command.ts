import type { Command } from "commander";
import { resolveConfig } from "../../config/resolve.ts";
import type { ServeConfig } from "../../config/settings.ts";
import { exitCode } from "../exit-codes.ts";
import type { CliIo } from "../io.ts";
import { printJson } from "../json.ts";
import type { CliResult } from "../program.ts";
import { clean } from "../text.ts";
import type { Check } from "./check.ts";
import { checkDoors } from "./doors.ts";
import { checkDevices, checkMemory, checkNode, checkOpenFiles, checkPidNamespace } from "./machine.ts";
import { checkNvidia } from "./nvidia.ts";
import type { Probes } from "./probes.ts";

/** Looks at everything, in the order in which it should be repaired. */
export async function examine(probes: Probes, config: ServeConfig): Promise<readonly Check[]> {
  return [
    checkNode(probes),
    ...(await checkNvidia(probes, config.nvidiaSmi)),
    ...checkDevices(probes),
    ...checkPidNamespace(probes),
    ...(await checkMemory(probes)),
    ...(await checkDoors(probes, config)),
    ...checkOpenFiles(probes),
  ];
}

/** The findings for people. */
export function examinationText(checks: readonly Check[]): string {
  const lines = checks.map(({ name, status, message, advice }) => {
    const head = `${status.padEnd(4)}  ${clean(name)}: ${clean(message)}\n`;
    return advice === "" ? head : `${head}      → ${clean(advice)}\n`;
  });
  const failed = checks.filter((check) => check.status === "fail").length;
  const warned = checks.filter((check) => check.status === "warn").length;
  return `${lines.join("")}\n${failed === 0 ? "Nothing stands in the way" : failed === 1 ? "1 thing will not work" : `${failed} things will not work`}${
    warned === 0 ? "" : `; ${warned === 1 ? "1 warning" : `${warned} warnings`}`
  }.\n`;
}

/** `sluice doctor` */
export function registerDoctor(program: Command, io: CliIo, result: CliResult): void {
  program
    .command("doctor")
    .summary("check this machine, without a server")
    .description(
      "Looks at nvidia-smi, each GPU, permissions, process ids, memory limits, the addresses of the doors and the limits of this process, and says " +
        "in plain words what will not work, why, and what to do. Exits with 1 when something will not work.",
    )
    .option("--nvidia-smi <PATH>", "the nvidia-smi program")
    .option("--json", "print JSON")
    .action(async (options: { nvidiaSmi?: string; json?: boolean }) => {
      const { config } = resolveConfig({ flags: { nvidiaSmi: options.nvidiaSmi }, env: io.env });
      const { realProbes } = await import("./real-probes.ts");
      const probes = realProbes(config.nvidiaSmi, io.env);
      try {
        const checks = await examine(probes, config);
        const healthy = checks.every((check) => check.status !== "fail");
        if (options.json === true) printJson(io, { ok: healthy, checks });
        else io.out(examinationText(checks));
        if (!healthy) result.code = exitCode.failure;
      } finally {
        await probes.close();
      }
    });
}
