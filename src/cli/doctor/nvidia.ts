import { splitRow, wordOf } from "../../monitor/nvidia/csv-row.ts";
import { parseListing } from "../../monitor/nvidia/listing.ts";
import type { Answer } from "../../monitor/nvidia/one-shot.ts";
import { oneGpuIsUnreadable, sentenceOf, troubleOf } from "../../monitor/nvidia/trouble.ts";
import { type Check, fail, ok, warn } from "./check.ts";
import type { Probes } from "./probes.ts";

const columns = [
  "index",
  "uuid",
  "memory.total",
  "memory.free",
  "compute_mode",
  "persistence_mode",
  "mig.mode.current",
  "driver_version",
  "name",
] as const;
type Row = Readonly<Record<(typeof columns)[number], string>>;

/** Whether nvidia-smi is there and answers, and how each GPU is. */
export async function checkNvidia(probes: Probes, asked: string): Promise<readonly Check[]> {
  const path = probes.nvidiaSmi;
  if (path === undefined) {
    return [
      fail(
        "nvidia-smi",
        `${asked} was not found, so no GPU can be measured and none will be given out.`,
        "Install the NVIDIA driver's tools, put nvidia-smi on PATH, or name it with --nvidia-smi PATH. To try sluice without a GPU, start it with `sluice serve --simulate 2x24576`.",
      ),
    ];
  }
  const checks: Check[] = [];
  let answer = await probes.ask(query(columns));
  // Drivers before R450 know no MIG, and one unknown column spoils the whole question.
  const known = endedWith(answer, 2) ? columns.filter((column) => column !== "mig.mode.current") : columns;
  if (known !== columns) answer = await probes.ask(query(known));

  if (oneGpuIsUnreadable(answer)) {
    const list = await probes.ask(["-L"]);
    const { gpus, unreadable } = parseListing(list.kind === "ended" ? list.text : "");
    for (const gpu of unreadable) {
      checks.push(
        fail(
          `GPU ${gpu.index}`,
          `It cannot be opened: ${sentenceOf(gpu.sentence)}`,
          "Look for Xid messages in dmesg; reset the GPU or reboot. The others can be used meanwhile.",
        ),
      );
    }
    // Indexes, because naming a healthy GPU by its UUID still opens the broken one.
    if (gpus.length > 0) answer = await probes.ask([...query(known), "-i", gpus.map((gpu) => gpu.index).join(",")]);
  }

  const trouble = troubleOf(answer, path);
  if (trouble !== undefined)
    return [fail("nvidia-smi", trouble, "Nothing can be admitted to a GPU until this is repaired."), ...checks];
  const rows = rowsOf(answer, known);
  if (rows.length === 0) {
    const said = answer.kind === "ended" ? sentenceOf(answer.text) : "";
    return [
      fail(
        "nvidia-smi",
        `${path} answered nothing that can be understood${said === "" ? "" : `: "${said}"`}.`,
        "Run it by hand; check that it is NVIDIA's.",
      ),
      ...checks,
    ];
  }
  const driver = rows[0]?.driver_version ?? "?";
  const gpus = rows.length === 1 ? "1 GPU" : `${rows.length} GPUs`;
  if (endedWith(answer, 14)) {
    checks.unshift(
      warn(
        "nvidia-smi",
        `${path} answers (driver ${driver}, ${gpus}) but warns that an infoROM is corrupted.`,
        "The GPU works; plan to have the card looked at.",
      ),
    );
  } else checks.unshift(ok("nvidia-smi", `${path} answers: driver ${driver}, ${gpus}.`));
  for (const row of rows) checks.push(...checkGpu(row));
  return checks;
}

function checkGpu(row: Row): readonly Check[] {
  const name = `GPU ${row.index}`;
  const free = wordOf(row["memory.free"]);
  const mig = row["mig.mode.current"] === "Enabled";
  if (free !== undefined && !mig) {
    if (/^(N\/A|Not Supported)$/.test(free)) {
      return [
        warn(
          name,
          `${row.name} does not tell its memory; it shares memory with the host, or is too old.`,
          "Its memory is taken from the host's where the two are one; otherwise nothing is admitted to it.",
        ),
      ];
    }
    const advice = /permission/i.test(free)
      ? "Give this user access to /dev/nvidia*; in a MIG container, set NVIDIA_MIG_MONITOR_DEVICES."
      : "Look for Xid messages in dmesg; reset the GPU or reboot. Nothing is admitted to it until then.";
    return [fail(name, `${row.name} does not tell its memory: ${free}.`, advice)];
  }
  const checks: Check[] = [];
  if (row.compute_mode === "Prohibited") {
    checks.push(
      fail(
        name,
        `${row.name} is in compute mode Prohibited, in which no program can use it.`,
        `Set it back: nvidia-smi -i ${row.index} -c DEFAULT (as root).`,
      ),
    );
  } else if (row.compute_mode === "Exclusive_Process") {
    checks.push(
      fail(
        name,
        `${row.name} is in compute mode Exclusive_Process, so a second program on it would die at its start; sluice gives nothing out on it.`,
        `Set it back: nvidia-smi -i ${row.index} -c DEFAULT (as root).`,
      ),
    );
  } else if (mig) {
    checks.push(ok(name, `${row.name} is in MIG mode; its slices are given out, each with its own memory.`));
  } else {
    checks.push(ok(name, `${row.name}: ${row["memory.free"]} of ${row["memory.total"]} MiB free.`));
  }
  if (row.persistence_mode === "Disabled") {
    checks.push(
      warn(
        `${name} persistence`,
        "Persistence mode is off: while nobody uses the GPU each look at it takes long, up to many seconds.",
        "While sluice serves it keeps the driver awake; to have it always, run nvidia-persistenced.",
      ),
    );
  }
  return checks;
}

function query(wanted: readonly string[]): readonly string[] {
  return [`--query-gpu=${wanted.join(",")}`, "--format=csv,noheader,nounits"];
}

function endedWith(answer: Answer, code: number): boolean {
  return answer.kind === "ended" && answer.end.code === code;
}

function rowsOf(answer: Answer, known: readonly string[]): readonly Row[] {
  if (answer.kind !== "ended") return [];
  return answer.text.split("\n").flatMap((line) => {
    const cells = splitRow(line, known.length, true);
    if (cells === undefined || !/^\d{1,4}$/.test(cells[0] ?? "")) return [];
    return [Object.fromEntries(columns.map((column) => [column, cells[known.indexOf(column)] ?? ""])) as Row];
  });
}
