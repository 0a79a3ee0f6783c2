import { cpus, loadavg, totalmem } from "node:os";

export function print(text = "") {
  process.stdout.write(`${text}\n`);
}

/** What a number must be read with: the machine, what else it does, and what was measured. */
export function printSetUp(title, parameters) {
  const processors = cpus();
  print(`# ${title}`);
  print(`date        ${new Date().toISOString()}`);
  print(
    `processor   ${processors.length} × ${processors[0]?.model.trim() ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
  );
  print(`node        ${process.version} on ${process.platform}`);
  print(
    `load        ${loadavg()
      .map((l) => l.toFixed(2))
      .join(", ")} (1, 5, 15 minutes)`,
  );
  for (const [name, value] of Object.entries(parameters)) print(`${name.padEnd(11)} ${value}`);
  print();
}

/** Left-aligned text, right-aligned numbers. */
export function printTable(header, rows) {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => String(row[i]).length)));
  for (const row of [header, ...rows]) {
    print(
      row
        .map((cell, i) => (isNumber(rows[0]?.[i]) ? String(cell).padStart(widths[i]) : String(cell).padEnd(widths[i])))
        .join("  ")
        .trimEnd(),
    );
  }
  print();
}

function isNumber(cell) {
  return /^[-+]?[\d,]+(\.\d+)?( ×| %)?$/.test(String(cell ?? ""));
}
