import type { Command } from "commander";
import type { ResidentRequest, ResidentsResult } from "../replay/residents-request.ts";
import { exitCode } from "./exit-codes.ts";
import { CliError, type CliIo } from "./io.ts";
import { printJson } from "./json.ts";
import { type Column, clean, table } from "./text.ts";

interface Flags {
  readonly residents: number;
  readonly compare?: boolean;
  readonly json?: boolean;
}

/** What a list comes to by one rule. */
interface Run {
  readonly file: string;
  readonly rule: string;
  readonly title: string;
  readonly result: ResidentsResult;
}

/** Options that say how jobs wait, or on what. */
const ofJobs = ["gpus", "vram", "ram", "policy", "discipline", "durations", "margin", "maxOvertakes"];

/** `sluice replay --residents`: lists of requests for models. */
export async function replayRequestLists(files: readonly string[], flags: Flags, command: Command, io: CliIo): Promise<void> {
  const inVain = command.options
    .filter((o) => ofJobs.includes(o.attributeName()) && command.getOptionValueSource(o.attributeName()) === "cli")
    .map((o) => o.long);
  if (inVain.length > 0) {
    const message = `--residents replays requests for models, which no machine or queue is described for; leave out ${inVain.join(", ")}`;
    throw new CliError(exitCode.usage, message);
  }
  const [{ readRequestList }, { linesOf }, rules] = await Promise.all([
    import("../replay/residents-list.ts"),
    import("../replay/lines.ts"),
    rulesOf(flags.compare === true),
  ]);
  const compared = rules.length > 1;
  const severalFiles = files.length > 1;
  const runs: Run[] = [];
  for (const file of files) {
    const requests = readRequestList(linesOf(file), file);
    if (requests.length === 0) throw new CliError(exitCode.usage, `${clean(file)} holds no request that can be replayed`);
    for (const { rule, title, replay } of rules) {
      const run: Run = { file, rule, title, result: replay(requests, flags.residents) };
      if (flags.json !== true) runs.push(run);
      else if (severalFiles || compared) io.out(`${JSON.stringify(runJson(run, compared))}\n`);
      else printJson(io, resultJson(run.result));
    }
  }
  if (flags.json !== true) io.out(runTable(runs, severalFiles, flags.residents));
}

interface ResidentRule extends Pick<Run, "rule" | "title"> {
  readonly replay: (requests: readonly ResidentRequest[], slots: number) => ResidentsResult;
}

async function rulesOf(compare: boolean): Promise<readonly ResidentRule[]> {
  const { replayResidents } = await import("../replay/residents.ts");
  const own = { rule: "sluice", title: "sluice", replay: replayResidents };
  if (!compare) return [own];
  const { greedyDual, leastRecentlyUsed, optimal } = await import("../replay/residents-rules.ts");
  return [
    { rule: "optimal", title: "optimal, knows the future", replay: optimal },
    own,
    { rule: "lru", title: "least recently used", replay: leastRecentlyUsed },
    { rule: "greedy-dual", title: "greedy-dual", replay: greedyDual },
  ];
}

/** In the order of the contract. */
function resultJson({ requests, misses, evictions }: ResidentsResult): ResidentsResult {
  return { requests, misses, evictions };
}

/** One of several results: it says which. */
function runJson({ file, rule, result }: Run, compared: boolean) {
  return { file, ...(compared ? { rule } : {}), ...resultJson(result) };
}

function runTable(runs: readonly Run[], withFile: boolean, slots: number): string {
  const number = (title: string, of: keyof ResidentsResult): Column<Run> => ({
    title,
    right: true,
    cell: ({ result }) => String(result[of]),
  });
  const columns: Column<Run>[] = [
    ...(withFile ? [{ title: "FILE", cell: (run: Run) => run.file }] : []),
    { title: "RULE", cell: (run) => run.title },
    number("REQUESTS", "requests"),
    number("MISSES", "misses"),
    number("EVICTIONS", "evictions"),
  ];
  const places = slots === 1 ? "1 resident" : `${slots} residents`;
  return `${table(columns, runs)}Room for ${places} of equal size. All take equally long to load; an execution takes no time, and who is idle may go at once.\n`;
}
