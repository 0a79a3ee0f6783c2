import type { Command } from "commander";
import { GetPolicyResponseSchema, SchedulerService, SetPolicyResponseSchema } from "#gen/sluice/v1/scheduler_pb.js";
import { addAddress, addressOf, withServer } from "./connection.ts";
import { exitCode } from "./exit-codes.ts";
import { CliError, type CliIo } from "./io.ts";
import { messageJson, printJson } from "./json.ts";
import { clean } from "./text.ts";

const unset = "unset: Allocate and plugins are permissive, whoever waits is queued";

/** `sluice policy [NAME]` */
export function registerPolicy(program: Command, io: CliIo): void {
  addAddress(program.command("policy"))
    .summary("show or set the policy")
    .description(
      "Without a name, shows the policy of the server and the names it takes. With one, sets it for requests that name none.",
    )
    .argument("[name]", "permissive, safety, queue, or a policy that the server has loaded")
    .option("--unset", "let each call do what it is for")
    .option("--json", "print JSON")
    .action((name: string | undefined, options: { json?: boolean; unset?: boolean }, command: Command) => {
      if (name !== undefined && options.unset === true) throw new CliError(exitCode.usage, "give a name or --unset, not both");
      return withServer(addressOf(command, io), async (connection) => {
        const scheduler = connection.client(SchedulerService);
        if (name === undefined && options.unset !== true) {
          const answer = await scheduler.getPolicy({});
          if (options.json === true) return printJson(io, messageJson(GetPolicyResponseSchema, answer));
          return io.out(`policy     ${clean(answer.policy || unset)}\navailable  ${answer.available.map(clean).join(", ")}\n`);
        }
        const answer = await scheduler.setPolicy({ policy: name ?? "" });
        if (options.json === true) printJson(io, messageJson(SetPolicyResponseSchema, answer));
        else io.out(`policy  ${clean(answer.policy || unset)}\nbefore  ${clean(answer.previous || unset)}\n`);
      });
    });
}
