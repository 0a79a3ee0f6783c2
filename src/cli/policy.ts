import type { Command } from "commander";
import {
  type GetPolicyResponse,
  GetPolicyResponseSchema,
  SchedulerService,
  type SetPolicyResponse,
  SetPolicyResponseSchema,
} from "#gen/sluice/v1/scheduler_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { exitCode } from "./exit-codes.ts";
import { CliError, type CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import { clean } from "./text.ts";

const unset = "unset: Allocate and plugins are permissive, whoever waits is queued";

/** The policy and the discipline for people; a server from before disciplines names none. */
function policyText(answer: GetPolicyResponse): string {
  const { policy, available, discipline, availableDisciplines } = answer;
  const lines = [`policy      ${clean(policy || unset)}`, `available   ${available.map(clean).join(", ")}`];
  if (discipline !== "") {
    lines.push(`discipline  ${clean(discipline)}`, `available   ${availableDisciplines.map(clean).join(", ")}`);
  }
  return `${lines.join("\n")}\n`;
}

function changeText(answer: SetPolicyResponse): string {
  const lines = [`policy      ${clean(answer.policy || unset)}`, `before      ${clean(answer.previous || unset)}`];
  if (answer.discipline !== "") {
    lines.push(`discipline  ${clean(answer.discipline)}`, `before      ${clean(answer.previousDiscipline)}`);
  }
  return `${lines.join("\n")}\n`;
}

interface Options {
  readonly discipline?: string;
  readonly unset?: boolean;
  readonly json?: boolean;
}

/** `sluice policy [NAME]` */
export function registerPolicy(program: Command, io: CliIo): void {
  addAddress(program.command("policy"))
    .summary("show or set the policy and the discipline")
    .description(
      "Without a name, shows the policy of the server, its discipline, and the names that it takes. With one, sets the policy for requests that name none.",
    )
    .argument("[name]", "permissive, safety, queue, or a policy that the server has loaded")
    .option("--discipline <NAME>", "set who is served while an earlier request waits: strict-fifo, best-effort, backfill")
    .option("--unset", "let each call do what it is for")
    .option("--json", "print JSON")
    .action((name: string | undefined, options: Options, command: Command) => {
      if (name !== undefined && options.unset === true) throw new CliError(exitCode.usage, "give a name or --unset, not both");
      if (options.discipline === "") throw new CliError(exitCode.usage, "--discipline needs a name, such as backfill");
      return withServer(addressOf(command, io), async (connection) => {
        const scheduler = connection.client(SchedulerService);
        const chosen = options.unset === true ? "" : name;
        if (chosen === undefined && options.discipline === undefined) {
          const answer = await scheduler.getPolicy({});
          if (options.json === true) printJson(io, messageJson(GetPolicyResponseSchema, answer));
          else io.out(policyText(answer));
          return;
        }
        // Both are set by one call: a policy that was not named here is the one that rules.
        const policy = chosen ?? (await scheduler.getPolicy({})).policy;
        const answer = await scheduler.setPolicy({ policy, discipline: options.discipline ?? "" });
        if (options.discipline !== undefined && answer.discipline === "") {
          throw new CliError(exitCode.failure, "this server is too old to know disciplines; restart it with this version");
        }
        if (options.json === true) printJson(io, messageJson(SetPolicyResponseSchema, answer));
        else io.out(changeText(answer));
      });
    });
}
