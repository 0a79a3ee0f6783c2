import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { ProcProcessTable } from "../../../src/monitor/process-table.ts";
import { type ProcessTrees, parseSmapsRollup, TreeRamReader } from "../../../src/monitor/tree-ram.ts";
import { waitFor } from "../../wait-for.ts";
import { addFiles, fixtureRoot, procFiles, statLine } from "./fixture-root.ts";

function rollup(pss: number, file?: number): string {
  const parts = file === undefined ? "" : `Pss_Anon:  ${pss - file} kB\nPss_File:      ${file} kB\nPss_Shmem:   0 kB\n`;
  return `559fd21ae000-7fff69e11000 ---p 00000000 00:00 0        [rollup]\nRss:    99999 kB\nPss:      ${pss} kB\n${parts}Swap:   0 kB\n`;
}

function reader(lines: readonly string[], memory: Record<number, string>) {
  const root = fixtureRoot(procFiles(...lines));
  for (const [pid, text] of Object.entries(memory)) addFiles(root, { [`proc/${pid}/smaps_rollup`]: text });
  const proc = join(root, "proc");
  return { ram: new TreeRamReader(new ProcProcessTable(proc), proc), root };
}

describe("the memory of a process tree", () => {
  it("is the sum of the proportional sizes over the tree, rounded down", async () => {
    const { ram } = reader([statLine(10, 1), statLine(11, 10), statLine(12, 11)], {
      10: rollup(1000),
      11: rollup(2000),
      12: rollup(3000),
    });
    expect([...(await ram.read(["10:1010"]))]).toEqual([["10:1010", 5]]);
  });

  it("leaves out pages of files, which the host still counts as available (guards against promising them twice)", async () => {
    const { ram } = reader([statLine(10, 1)], { 10: rollup(10_240 + 4096, 10_240) });
    expect([...(await ram.read(["10:1010"]))]).toEqual([["10:1010", 4]]);
  });

  it("is absent when a member that runs cannot be read, and the other trees are still there", async () => {
    const lines = [statLine(10, 1), statLine(11, 10), statLine(20, 1)];
    const { ram } = reader(lines, { 10: rollup(1024), 20: rollup(2048) });
    expect([...(await ram.read(["10:1010", "20:1020"]))]).toEqual([["20:1020", 2]]);
  });

  it("is absent when a member's file holds something else", async () => {
    const { ram } = reader([statLine(10, 1)], { 10: "Rss: 5 kB\n" });
    expect((await ram.read(["10:1010"])).size).toBe(0);
  });

  it("does not need members that have ended since", async () => {
    const { root } = reader([statLine(10, 1)], { 10: rollup(1024) });
    const proc = join(root, "proc");
    const table = new ProcProcessTable(proc);
    const ended: ProcessTrees = {
      alive: (key) => table.alive(key),
      key: (pid) => table.key(pid),
      trees: async () => new Map([["10:1010", [10, 11]]]),
    };
    expect([...(await new TreeRamReader(ended, proc).read(["10:1010"]))]).toEqual([["10:1010", 1]]);
  });

  it("is absent when the root has ended", async () => {
    const { ram, root } = reader([statLine(10, 1)], { 10: rollup(1024) });
    rmSync(join(root, "proc/10"), { recursive: true });
    expect((await ram.read(["10:1010"])).size).toBe(0);
  });

  it("is absent for a tree of more than 512 processes, and present for one of 512", async () => {
    const lines = Array.from({ length: 512 }, (_, n) => statLine(10 + n, n === 0 ? 1 : 10));
    const memory = Object.fromEntries(lines.map((_, n) => [10 + n, rollup(1024)]));
    const { ram, root } = reader(lines, memory);
    expect([...(await ram.read(["10:1010"]))]).toEqual([["10:1010", 512]]);
    addFiles(root, { ...procFiles(statLine(9000, 10)), "proc/9000/smaps_rollup": rollup(1024) });
    expect((await ram.read(["10:1010"])).size).toBe(0);
  });

  it("gives up on a reader that the kernel makes wait, and does not start another one behind it", async () => {
    let asked = 0;
    let goOn: (trees: ReadonlyMap<string, readonly number[]>) => void = () => {};
    const { root } = reader([statLine(10, 1)], { 10: rollup(2048) });
    const proc = join(root, "proc");
    const table = new ProcProcessTable(proc);
    const stuck: ProcessTrees = {
      alive: (key) => table.alive(key),
      key: (pid) => table.key(pid),
      trees: () => {
        asked++;
        return new Promise((resolve) => {
          goOn = resolve;
        });
      },
    };
    const ram = new TreeRamReader(stuck, proc, 20);
    expect((await ram.read(["10:1010"])).size).toBe(0);
    expect((await ram.read(["10:1010"])).size).toBe(0);
    expect(asked).toBe(1);
    goOn(new Map());
    await waitFor(() => {
      void ram.read(["10:1010"]);
      return asked === 2;
    }, "it to read again once the first one has come back");
    goOn(new Map());
  });

  it("parses to a whole number of KiB or to nothing, and never throws", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.string(), (pss, file, noise) => {
        const kib = parseSmapsRollup(`${noise}\nPss: ${pss} kB\nPss_File: ${file} kB\n`);
        expect(kib).toBe(Math.max(0, pss - file));
        const any = parseSmapsRollup(noise);
        expect(any === undefined || any >= 0).toBe(true);
      }),
    );
  });
});

function canReadOwnMemory(): boolean {
  return existsSync("/proc/self/smaps_rollup");
}
if (!canReadOwnMemory()) process.stderr.write("no /proc/self/smaps_rollup here: the test with real memory is skipped\n");

describe.skipIf(!canReadOwnMemory())("real memory", () => {
  it("sees what a grandchild holds", async () => {
    const hold = "const b = Buffer.alloc(100 * 1048576, 1); console.log(b.length); setInterval(() => b.at(0), 1000);";
    const parent = spawn("sh", ["-c", '"$0" -e "$1" & wait', process.execPath, hold], {
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
    });
    onTestFinished(() => void process.kill(-(parent.pid as number), "SIGKILL"));
    await once(parent.stdout, "data");
    const table = new ProcProcessTable();
    const key = table.key(parent.pid as number) as string;
    const mb = (await new TreeRamReader(table).read([key])).get(key) ?? 0;
    expect(mb).toBeGreaterThanOrEqual(100);
    expect(mb).toBeLessThan(300);
  });
});
