import { type Command, InvalidArgumentError, Option } from "commander";
import { maxGpus, maxMib } from "../engine/request-limits.ts";
import { defaultSettings, disciplines } from "../engine/settings.ts";
import type { ReplayOptions, ReplayResult, Workbook } from "../replay/job.ts";
import type { Work } from "../replay/read-work.ts";
import { maxSlots } from "../replay/residents-request.ts";
import { exitCode } from "./exit-codes.ts";
import { CliError, type CliIo } from "./io.ts";
import { printJson } from "./json.ts";
import type { CliResult } from "./program.ts";
import { machineFor, type StatedMachine } from "./replay-machine.ts";
import { type Run, resultJson, runJson, runTable } from "./replay-output.ts";
import { replayRequestLists } from "./replay-residents.ts";
import { clean } from "./text.ts";

/** Drives the engine over a workbook. */
export type Replay = (book: Workbook, options: ReplayOptions) => ReplayResult;

type Way = Pick<ReplayOptions, "discipline" | "durations">;

interface Flags extends StatedMachine {
  readonly policy: string;
  readonly discipline?: ReplayOptions["discipline"];
  readonly durations: boolean;
  readonly maxOvertakes?: number;
  readonly compare?: boolean;
  readonly residents?: number;
  readonly json?: boolean;
}

/**
 * `sluice replay`
 * @param replay what replays, for tests; the engine when not given.
 */
export function registerReplay(program: Command, io: CliIo, _result: CliResult, replay?: Replay): void {
  program
    .command("replay")
    .summary("try an order of the queue on a list of jobs, or on a record")
    .description(
      "Drives the engine over a list of jobs (CSV), or over what a server has recorded with --record, on a clock that does not wait. With --residents the list is one of requests for models (CSV: t_s,model,exec_s): it tells how often a model has to be loaded, and how often another has to go for it. No server is needed.",
    )
    .argument("<FILE...>", "lists of jobs, records, or with --residents lists of requests for models")
    .option("--gpus <N>", "GPUs of the machine (default: as recorded)", wholeTo(maxGpus))
    .option("--vram <MIB>", "memory of each GPU that can be promised (default: as recorded)", wholeTo(maxMib))
    .option("--ram <MIB>", "host memory that can be promised (default: as recorded)", wholeTo(maxMib))
    .addOption(new Option("--policy <NAME>", "who decides").choices(["permissive", "safety", "queue"]).default("queue"))
    .addOption(
      new Option("--discipline <NAME>", `the order of the queue (default: ${defaultSettings.discipline})`).choices(disciplines),
    )
    .option("--no-durations", "nobody says beforehand how long a job runs")
    .option(
      "--margin <MIB>",
      "memory of each GPU and of the host that is never promised (default: as recorded, else 0)",
      wholeTo(maxMib),
    )
    .option("--max-overtakes <N>", "how many later jobs may be served before one that they delay", wholeTo(100_000))
    .option(
      "--residents <K>",
      "requests for models, where so many models of equal size can be resident at once",
      whole(1, maxSlots),
    )
    .option(
      "--compare",
      "one row for each discipline, and one for backfill without durations; with --residents one for the least misses that are possible, and for other rules",
    )
    .option("--json", "print JSON: one object, or one a line with --compare or several files")
    .action(async (files: readonly string[], flags: Flags, command: Command) => {
      const { residents } = flags;
      if (residents !== undefined) return await replayRequestLists(files, { ...flags, residents }, command, io);
      check(flags);
      const [run, { readWork }] = await Promise.all([
        replay ?? import("../replay/world.ts").then((world) => world.replay),
        import("../replay/read-work.ts"),
      ]);
      const severalFiles = files.length > 1;
      const runs: Run[] = [];
      for (const file of files) {
        const work = readWork(file);
        checkJobs(work, file);
        const { machine, marginMb } = machineFor(work, flags, file);
        const book: Workbook = work.kind === "record" ? { ...work.book, machine } : { machine, jobs: work.jobs, remarks: [] };
        for (const remark of book.remarks) io.err(`sluice: ${clean(file)}: ${clean(remark)}\n`);
        const limits = flags.maxOvertakes === undefined ? {} : { maxOvertakes: flags.maxOvertakes };
        for (const way of waysOf(flags)) {
          const done = { file, ...way, result: run(book, { policy: flags.policy, marginMb, ...limits, ...way }) };
          if (flags.json !== true) runs.push(done);
          else if (severalFiles || flags.compare === true) io.out(`${JSON.stringify(runJson(done, flags.compare === true))}\n`);
          else printJson(io, resultJson(done.result));
        }
      }
      if (flags.json !== true) io.out(runTable(runs, severalFiles));
    });
}

function check(flags: Flags): void {
  if (flags.compare === true && (flags.discipline !== undefined || !flags.durations)) {
    throw new CliError(
      exitCode.usage,
      "--compare replays with every discipline, with and without durations; leave out --discipline and --no-durations",
    );
  }
}

function waysOf(flags: Flags): readonly Way[] {
  if (flags.compare !== true)
    return [{ discipline: flags.discipline ?? defaultSettings.discipline, durations: flags.durations }];
  return [...disciplines.map((discipline) => ({ discipline, durations: true })), { discipline: "backfill", durations: false }];
}

/** @throws CliError when there is no job. */
function checkJobs(work: Work, file: string): void {
  const { jobs, remarks } = work.kind === "record" ? work.book : { jobs: work.jobs, remarks: [] };
  if (jobs.length > 0) return;
  const why = remarks.map((remark) => `; ${remark}`).join("");
  throw new CliError(exitCode.usage, `${clean(file)} holds no job that can be replayed${clean(why)}`);
}

function wholeTo(max: number): (text: string) => number {
  return whole(0, max);
}

function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}
