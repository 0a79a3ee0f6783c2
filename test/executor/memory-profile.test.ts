import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Requirements } from "../../src/engine/types.ts";
import { validateManifest } from "../../src/executor/manifest.ts";
import { MemoryProfiles, profileKey, profileWindow, type RunMemory } from "../../src/executor/memory-profile.ts";

const declared: Requirements = { gpuCount: 1, vramMb: 4_000, ramMb: 2_000, gpuUuids: ["GPU-1"], exclusive: true };
const ok = (vramMb?: number, ramMb?: number): RunMemory => run(false, vramMb, ramMb);
const bad = (vramMb?: number, ramMb?: number): RunMemory => run(true, vramMb, ramMb);

function run(failed: boolean, vramMb?: number, ramMb?: number): RunMemory {
  return { failed, ...(vramMb === undefined ? {} : { vramMb }), ...(ramMb === undefined ? {} : { ramMb }) };
}

function seen(...runs: RunMemory[]): MemoryProfiles {
  const profiles = new MemoryProfiles();
  for (const one of runs) profiles.observe("k", one);
  return profiles;
}

const times = <T>(n: number, value: T): T[] => Array.from({ length: n }, () => value);

describe("the key of a profile", () => {
  const manifest = {
    name: "a",
    version: "1",
    command: ["x"],
    resources: { requires_gpu: true, min_gpu_vram_mb: 1 },
    env: { A: "1", B: "2" },
  };
  const keyOf = (change: object) => {
    const result = validateManifest({ ...manifest, ...change });
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    return profileKey(result.manifest);
  };

  it("is another for another name, version, or anything that can change what it uses", () => {
    const gpu = { requires_gpu: true, min_gpu_vram_mb: 1 };
    const keys = [
      {},
      { name: "b" },
      { version: "2" },
      { command: ["x", "--large"] },
      { env: { A: "1", B: "3" } },
      { mode: "worker" },
      { max_concurrency: 2 },
      { resources: { ...gpu, gpu_count: 2 } },
      { resources: { ...gpu, exclusive_gpu: true } },
    ].map(keyOf);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it("is the same whatever is declared, described, or in which order its environment stands", () => {
    const same = [
      {},
      { env: { B: "2", A: "1" } },
      { description: "x" },
      { resources: { requires_gpu: true, min_gpu_vram_mb: 9, min_system_ram_mb: 5 } },
      { arguments_schema: {} },
    ].map(keyOf);
    expect(new Set(same).size).toBe(1);
  });
});

describe("what is learned", () => {
  it("is the 95th percentile by nearest rank of the runs that succeeded", () => {
    expect(seen(ok(5_210)).profileOf("k")).toEqual({ learnedVramMb: 5_210, runs: 1 });
    const upTo = (n: number) => seen(...Array.from({ length: n }, (_, i) => ok(i + 1))).profileOf("k")?.learnedVramMb;
    expect([upTo(2), upTo(19), upTo(20), upTo(21), upTo(40)]).toEqual([2, 19, 19, 20, 38]);
  });

  it("does not depend on the order of the runs in the window", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9_999), { minLength: 1, maxLength: profileWindow }), (peaks) => {
        const learned = seen(...peaks.map((p) => ok(p))).profileOf("k")?.learnedVramMb ?? -1;
        expect(seen(...[...peaks].reverse().map((p) => ok(p))).profileOf("k")?.learnedVramMb).toBe(learned);
        // At least 95 of a hundred are covered, and one of them is it.
        expect(peaks).toContain(learned);
        expect(peaks.filter((p) => p <= learned).length).toBeGreaterThanOrEqual(0.95 * peaks.length);
        expect(peaks.filter((p) => p < learned).length).toBeLessThan(0.95 * peaks.length);
      }),
    );
  });

  it("forgets runs once the window is full of later ones", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 5_001, max: 90_000 }), { maxLength: 80 }), (old) => {
        const profiles = seen(...old.map((p) => ok(p, p)), ...times(profileWindow, ok(5_000, 100)));
        expect(profiles.profileOf("k")).toEqual({ learnedVramMb: 5_000, learnedRamMb: 100, runs: profileWindow });
      }),
    );
  });

  it("is nothing when nothing was measured: unknown is never 0, also beside a number that is known", () => {
    expect(seen(ok(), bad()).profileOf("k")).toBeUndefined();
    expect(seen(ok(Number.NaN), ok(-1)).profileOf("k")).toBeUndefined();
    const profiles = seen(ok(6_000), ...times(30, ok(undefined, 500)));
    expect(profiles.profileOf("k")).toEqual({ learnedVramMb: 6_000, learnedRamMb: 500, runs: 30 });
    expect(seen(...times(5, ok(undefined, 500))).needOf("k", declared, "replace")).toMatchObject({
      vramMb: 4_000,
      ramMb: 500,
    });
  });

  it("keeps a measured 0 as a number, and never asks for less because of it", () => {
    const profiles = seen(...times(9, ok(0, 0)));
    expect(profiles.profileOf("k")).toEqual({ learnedVramMb: 0, learnedRamMb: 0, runs: 9 });
    for (const mode of ["max", "replace", "off"] as const) expect(profiles.needOf("k", declared, mode)).toEqual(declared);
  });

  it("is whole MiB, rounded up", () => {
    expect(seen(ok(5_000.01)).profileOf("k")?.learnedVramMb).toBe(5_001);
  });
});

describe("what a start asks for", () => {
  it("is what was declared while nothing is known", () => {
    for (const mode of ["max", "replace", "off"] as const) expect(seen().needOf("k", declared, mode)).toBe(declared);
  });

  it("may be raised by one run and is lowered by five, and only by replace", () => {
    expect(seen(ok(5_000, 3_000)).needOf("k", declared, "max")).toEqual({ ...declared, vramMb: 5_000, ramMb: 3_000 });
    expect(seen(ok(5_000, 3_000)).needOf("k", declared, "replace")).toEqual({ ...declared, vramMb: 5_000, ramMb: 3_000 });
    expect(seen(ok(5_000, 3_000)).needOf("k", declared, "off")).toBe(declared);
    expect(seen(...times(4, ok(1_000))).needOf("k", declared, "replace").vramMb).toBe(4_000);
    expect(seen(...times(5, ok(1_000))).needOf("k", declared, "replace").vramMb).toBe(1_000);
    expect(seen(...times(5, ok(1_000))).needOf("k", declared, "max").vramMb).toBe(4_000);
  });

  it("never asks for memory of a GPU when no GPU is asked for", () => {
    const none = { ...declared, gpuCount: 0, vramMb: 0, gpuUuids: [], exclusive: false };
    const profiles = seen(...times(9, ok(3_000, 100)), bad(9_000, 100));
    for (const mode of ["max", "replace", "off"] as const) expect(profiles.needOf("k", none, mode).vramMb).toBe(0);
    expect(profiles.afterOutOfMemory("k", none, { vramMb: 9_000 }, { resource: "gpu", neededMb: 10_000 }).vramMb).toBe(0);
  });

  it("is not raised beyond what the machine could ever give, or a run that went to its edge would be the last", () => {
    // Guards: a peak of 23,036 MiB on a card that can be asked for 22,108 was never admitted again.
    const ceiling = { vramMb: 22_108 };
    expect(seen(ok(23_036, 5_000)).needOf("k", declared, "max", ceiling)).toMatchObject({ vramMb: 22_108, ramMb: 5_000 });
    expect(seen(bad(23_036)).needOf("k", declared, "max", ceiling).vramMb).toBe(22_108);
    expect(seen(...times(5, ok(23_036))).needOf("k", declared, "replace", ceiling).vramMb).toBe(22_108);
    // What was declared is for the operator to change.
    const large = { ...declared, vramMb: 30_000 };
    expect(seen(ok(23_036)).needOf("k", large, "max", ceiling).vramMb).toBe(30_000);
    expect(
      seen(ok(20_000)).afterOutOfMemory("k", declared, { vramMb: 20_000 }, { resource: "gpu" }, "max", ceiling).vramMb,
    ).toBe(22_108);
  });

  const figure = fc.option(fc.nat(30_000), { nil: undefined });
  const runs = fc.array(
    fc
      .record({ failed: fc.boolean(), vramMb: figure, ramMb: figure, granted: figure })
      .map(({ failed, vramMb, ramMb, granted }) => ({
        ...run(failed, vramMb, ramMb),
        ...(granted === undefined ? {} : { granted: { vramMb: granted, ramMb: granted } }),
      })),
    { maxLength: 100 },
  );

  it("is never below what was declared under max, and under replace only where five measured runs say so", () => {
    fc.assert(
      fc.property(runs, (all) => {
        const profiles = seen(...all);
        const max = profiles.needOf("k", declared, "max");
        expect(max.vramMb).toBeGreaterThanOrEqual(declared.vramMb);
        expect(max.ramMb).toBeGreaterThanOrEqual(declared.ramMb);
        const replace = profiles.needOf("k", declared, "replace");
        const succeeded = (field: "vramMb" | "ramMb") => all.filter((r) => !r.failed && r[field] !== undefined).length;
        if (succeeded("vramMb") < 5) expect(replace.vramMb).toBe(max.vramMb);
        if (succeeded("ramMb") < 5) expect(replace.ramMb).toBe(max.ramMb);
        for (const need of [max, replace]) {
          expect({ ...need, vramMb: 0, ramMb: 0 }).toEqual({ ...declared, vramMb: 0, ramMb: 0 });
          expect(Number.isInteger(need.vramMb) && Number.isInteger(need.ramMb)).toBe(true);
          expect(need.vramMb).toBeGreaterThan(0);
        }
      }),
    );
  });

  it("is never lowered by a run that failed", () => {
    fc.assert(
      fc.property(runs, fc.constantFrom("max", "replace", "off"), figure, figure, (all, mode, vramMb, ramMb) => {
        const profiles = seen(...all);
        const before = profiles.needOf("k", declared, mode);
        profiles.observe("k", run(true, vramMb, ramMb));
        const now = profiles.needOf("k", declared, mode);
        expect(now.vramMb).toBeGreaterThanOrEqual(before.vramMb);
        expect(now.ramMb).toBeGreaterThanOrEqual(before.ramMb);
      }),
    );
  });
});

describe("the lower bound of runs that failed", () => {
  const bound = (profiles: MemoryProfiles) => profiles.profileOf("k")?.atLeastVramMb;

  it("is the largest of them, and no run in itself", () => {
    expect(seen(bad(6_000), bad(5_000)).profileOf("k")).toEqual({ runs: 0, atLeastVramMb: 6_000 });
    expect(seen(bad(6_000)).needOf("k", declared, "max").vramMb).toBe(6_000);
    expect(seen(bad(6_000)).needOf("k", declared, "off").vramMb).toBe(4_000);
    expect(seen(...times(5, ok(1_000)), bad(1_500)).needOf("k", declared, "replace").vramMb).toBe(1_500);
  });

  it("is not told where runs that succeeded say more", () => {
    expect(seen(ok(7_000), bad(6_000)).profileOf("k")).toEqual({ learnedVramMb: 7_000, runs: 1 });
  });

  it("ends with a later successful run that was granted as much, or used as much", () => {
    const granted = (vramMb: number, peak?: number) => ({ ...ok(peak), granted: { vramMb } });
    expect(bound(seen(bad(6_000), granted(6_000, 3_000)))).toBeUndefined();
    expect(bound(seen(bad(6_000), granted(5_999, 3_000)))).toBe(6_000);
    expect(bound(seen(bad(6_000), granted(8_000)))).toBe(6_000);
    expect(bound(seen(bad(6_000), ok(3_000)))).toBe(6_000);
    expect(seen(bad(6_000), ok(6_000), ok(10)).profileOf("k")).toEqual({ learnedVramMb: 6_000, runs: 2 });
    expect(bound(seen(granted(9_000, 3_000), bad(6_000)))).toBe(6_000);
    expect(bound(seen(...times(30, ok(10)), bad(6_000), ok(6_000)))).toBeUndefined();
  });

  it("is forgotten after a whole window of successful runs, so that it cannot hold for ever on a small machine", () => {
    const profiles = seen(...times(2, [bad(6_000), ...times(profileWindow - 1, ok(3_000))]).flat());
    expect(bound(profiles)).toBe(6_000);
    profiles.observe("k", ok(undefined, 5));
    expect(bound(profiles)).toBe(6_000);
    profiles.observe("k", ok(3_000));
    expect(bound(profiles)).toBeUndefined();
  });
});

describe("the second try after it ran out of memory", () => {
  const retry = (profiles: MemoryProfiles, reached: object, said: { resource: "gpu" | "ram"; neededMb?: number }) =>
    profiles.afterOutOfMemory("k", declared, reached, said);

  it("asks for the largest of what is known, what was said, and 1.25 times what was reached", () => {
    expect(retry(seen(), { vramMb: 5_184 }, { resource: "gpu" })).toEqual({ ...declared, vramMb: 6_480 });
    expect(retry(seen(), { vramMb: 5_184 }, { resource: "gpu", neededMb: 9_900 }).vramMb).toBe(9_900);
    expect(retry(seen(), { vramMb: 5_184 }, { resource: "gpu", neededMb: 20 }).vramMb).toBe(6_480);
    expect(retry(seen(ok(8_000)), { vramMb: 5_184 }, { resource: "gpu" }).vramMb).toBe(8_000);
    expect(retry(seen(), { vramMb: 100 }, { resource: "gpu" }).vramMb).toBe(4_000);
    expect(retry(seen(), { vramMb: 4_001 }, { resource: "gpu" }).vramMb).toBe(5_002);
  });

  it("leaves the other resource as it was", () => {
    expect(retry(seen(), { vramMb: 9_000, ramMb: 9_000 }, { resource: "ram", neededMb: 3_000 })).toEqual({
      ...declared,
      ramMb: 11_250,
    });
  });

  it("asks for a quarter more than the first when nothing was measured and nothing said", () => {
    expect(retry(seen(), {}, { resource: "gpu" }).vramMb).toBe(5_000);
    expect(retry(seen(), { vramMb: 0 }, { resource: "gpu" }).vramMb).toBe(5_000);
    expect(retry(seen(ok(8_000)), { ramMb: 9_000 }, { resource: "gpu" }).vramMb).toBe(10_000);
    expect(retry(seen(), {}, { resource: "ram" }).ramMb).toBe(2_500);
  });

  it("asks for more also where learned memory is off", () => {
    const need = seen(ok(8_000)).afterOutOfMemory("k", declared, {}, { resource: "gpu" }, "off");
    expect(need.vramMb).toBe(5_000);
  });
});

describe("how much is remembered", () => {
  it("is a thousand keys, and those not used for longest go first", () => {
    const profiles = new MemoryProfiles();
    for (let i = 0; i < 1_000; i += 1) profiles.observe(`k${i}`, ok(5_000));
    profiles.observe("k0", ok(5_000));
    profiles.needOf("k1", declared, "max");
    // Looking at it in a listing is no use of it.
    profiles.viewOf("k2", declared, "max");
    for (let i = 1_000; i < 1_003; i += 1) profiles.observe(`k${i}`, ok(5_000));
    const kept = [0, 1, 2, 3, 4, 5, 999, 1_002].filter((i) => profiles.profileOf(`k${i}`) !== undefined);
    expect(kept).toEqual([0, 1, 5, 999, 1_002]);
  });

  it("is one key per profile: what one plugin uses says nothing about another", () => {
    const profiles = seen(ok(9_000));
    expect(profiles.needOf("other", declared, "max")).toBe(declared);
  });
});

it("shows what was learned with what that makes the next start ask for", () => {
  expect(seen().viewOf("k", declared, "max")).toBeUndefined();
  const profiles = seen(ok(3_000), bad(6_000));
  const known = { learnedVramMb: 3_000, runs: 1, atLeastVramMb: 6_000 };
  expect(profiles.viewOf("k", declared, "max")).toEqual({ ...known, asksFor: { ...declared, vramMb: 6_000 } });
  expect(profiles.viewOf("k", declared, "off")).toEqual({ ...known, asksFor: declared });
});
