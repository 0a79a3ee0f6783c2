/** What must hold of the lists of one node. */

const numbers = ["waitMean", "waitMax", "makespan"];
/** Means are sums of numbers with two decimals: equal ones may differ in the last bit. */
const tiny = 1e-9;

/** Means over the lists of each cell: of ours in each way, and of the reference. */
export function cellsOf(lists, runs) {
  const cells = new Map();
  for (const [i, list] of lists.entries()) {
    const cell = cells.get(list.cell) ?? [];
    cell.push(i);
    cells.set(list.cell, cell);
  }
  return [...cells].map(([cell, members]) => {
    const mean = (of) =>
      Object.fromEntries(numbers.map((n) => [n, members.reduce((sum, i) => sum + of(i)[n], 0) / members.length]));
    return {
      cell,
      easy: mean((i) => lists[i].easy),
      sjf: mean((i) => lists[i].sjf),
      ours: runs.map((run) => mean((i) => run[i])),
    };
  });
}

/**
 * @param runs results of each list, first with durations, then without; further ones are only looked at for lost work.
 * @returns one entry for each target: what it says, whether it holds, and where it comes closest to failing, or fails.
 */
export function targetsOf(lists, runs) {
  const cells = cellsOf(lists, runs);
  const [said, unsaid] = runs;
  const all = runs.flat();
  const oom = all.reduce((sum, r) => sum + r.oom, 0);
  const lost = all.reduce((sum, r) => sum + r.jobs - r.done, 0);
  const atMost = said.filter((r, i) => r.waitMean <= lists[i].easy.waitMean + tiny).length;
  const reached = cells.filter((c) => c.easy.makespan <= 1.02 + tiny);
  const worst = (of, some = cells) => some.reduce((a, c) => (of(c) > of(a) ? c : a));
  const ratio = (target, number, way, limit) => {
    const of = (c) => c.ours[way][number] / c.easy[number];
    const cell = worst(of);
    return entry(target, of(cell) <= limit + tiny, `worst ${of(cell).toFixed(4)}: ${cell.cell}`);
  };
  const makespan = (target, way) => {
    const of = (c) => c.ours[way].makespan;
    if (reached.length === 0) return entry(target, false, "easy reaches it in no cell: nothing was compared");
    const cell = worst(of, reached);
    return entry(target, of(cell) <= 1.02 + tiny, `worst of ${reached.length} cells ${of(cell).toFixed(4)}: ${cell.cell}`);
  };
  const entry = (target, passed, detail) => ({ target, passed, detail });
  return [
    entry("no allocation fails (oom 0), in any discipline", oom === 0, `${oom} failed`),
    entry("all work is done, in any discipline", lost === 0, `${lost} of ${all.reduce((sum, r) => sum + r.jobs, 0)} not done`),
    entry(
      "durations: mean wait ≤ easy on 90 % of the lists",
      atMost >= 0.9 * lists.length && unsaid.length === lists.length,
      `${atMost} of ${lists.length}`,
    ),
    ratio("durations: mean wait ≤ easy on the mean of each cell", "waitMean", 0, 1),
    ratio("durations: longest wait ≤ 1.1 × easy on the mean of each cell", "waitMax", 0, 1.1),
    makespan("durations: makespan ≤ 1.02 × bound on the mean of each cell where easy is", 0),
    ratio("no durations: mean wait ≤ 1.05 × easy on the mean of each cell", "waitMean", 1, 1.05),
    ratio("no durations: longest wait ≤ 1.3 × easy on the mean of each cell", "waitMax", 1, 1.3),
    makespan("no durations: makespan ≤ 1.02 × bound on the mean of each cell where easy is", 1),
  ];
}
