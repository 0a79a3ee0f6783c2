import type { Command } from "commander";
import {
  type EvictionVictim,
  type ExplainResponse,
  ExplainResponseSchema,
  SchedulerService,
} from "#gen/sluice/v1/scheduler_pb.js";
import { mib } from "../engine/mib.ts";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { gpuList, needs, reasonLines } from "./describe-work.ts";
import { exitCode } from "./exit-codes.ts";
import type { CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import type { CliResult } from "./program.ts";
import { clean } from "./text.ts";
import { addWorkloadOptions, type WorkloadOptions, workloadOf } from "./workload-options.ts";

/** The answer for people. */
export function explainText(answer: ExplainResponse, asked: string): string {
  const lines: string[] = [];
  if (answer.fitsNow) {
    lines.push(`Yes: ${asked} would be granted now${answer.gpus.length === 0 ? "" : ` on ${gpuList(answer.gpus)}`}.`);
  } else if (answer.neverFits) {
    lines.push(`Never: ${asked} cannot fit on this machine, even when it is empty.`);
  } else {
    lines.push(`Not now: ${asked} would ${answer.position > 0 ? `wait in place ${answer.position}` : "be refused"}.`);
  }
  let text = `${lines.join("\n")}\n${reasonLines(answer.reasons)}`;
  if (answer.evictionPlan.length > 0) text += `Would have to go first:\n${answer.evictionPlan.map(victimLine).join("")}`;
  else if (answer.wouldEvict.length > 0) text += `Would have to go first: ${answer.wouldEvict.map(clean).join(", ")}\n`;
  if (!answer.fitsNow && answer.largestNow !== undefined)
    text += `The largest of this shape that would be granted now: ${needs(answer.largestNow)}\n`;
  if (answer.largestThatFits !== undefined)
    text += `The largest of this shape that this machine can hold: ${needs(answer.largestThatFits)}\n`;
  return `${text}Judged by policy ${clean(answer.policy || "-")}.\n`;
}

/** What an eviction would take back, and what it costs. */
function victimLine(victim: EvictionVictim): string {
  const memory = victim.gpus.map((gpu) => `${mib(gpu.vramMb)} on ${clean(gpu.gpuUuid)}`);
  if (victim.ramMb !== undefined) memory.push(`${mib(victim.ramMb)} of host memory`);
  // Uses times time to load: no length of time that anybody waits, so it is not told as one.
  const cost = String(Math.round(victim.costMs)).replace(/\B(?=(\d{3})+$)/g, ",");
  return `  - ${clean(victim.name || victim.leaseId)}: ${memory.join(", ") || "nothing that was measured"}; cost ${cost}\n`;
}

/** `sluice explain` */
export function registerExplain(program: Command, io: CliIo, result: CliResult): void {
  addWorkloadOptions(addAddress(program.command("explain")))
    .summary("would this fit now, and if not, why not")
    .description(
      "Asks what would happen to a request, without changing anything. Exits with 0 when it fits now, and with 75 when it does not.",
    )
    .option("--policy <NAME>", "judge by this policy (default: the server's, else queue)")
    .option("--json", "print JSON")
    .action((options: WorkloadOptions & { json?: boolean; policy?: string }, command: Command) => {
      const workload = workloadOf(options, "explain");
      return withServer(addressOf(command, io), async (connection) => {
        const answer = await connection.client(SchedulerService).explain({ workload, policy: options.policy ?? "" });
        if (options.json === true) printJson(io, messageJson(ExplainResponseSchema, answer));
        else io.out(explainText(answer, needs(workload.resources)));
        if (!answer.fitsNow) result.code = exitCode.refused;
      });
    });
}
