import { describe, expect, it } from "vitest";
import { type FakeState, gpuUuid } from "../../fakes/nvidia-smi/fake.ts";
import { waitFor } from "../../wait-for.ts";
import { machine, sleeper } from "./workbench.ts";

describe("MIG", () => {
  const parent = gpuUuid(0);
  const slice = (n: number) => `MIG-fa4e0000-0000-4000-8000-00000000000${n}`;
  const partitioned = (): FakeState => ({
    gpus: [
      {
        uuid: parent,
        name: "NVIDIA H200",
        totalMb: 143_771,
        reservedMb: 614,
        mig: {
          devices: [
            { uuid: slice(0), profile: "1c.3g.71gb", gi: 2, ci: 0, totalMb: 71_424, usedMb: 25 },
            { uuid: slice(1), profile: "1c.3g.71gb", gi: 2, ci: 1, totalMb: 71_424, usedMb: 25 },
            { uuid: slice(2), profile: "1g.18gb", gi: 9, totalMb: 16_384, usedMb: 12 },
          ],
        },
      },
      { uuid: gpuUuid(1), usedMb: 77 },
    ],
  });

  it("lists the devices instead of their GPU, with one pool for each GPU instance", async () => {
    const { fake, rig } = machine(partitioned());
    const first = await rig.start();
    expect(
      first.gpus.map(({ uuid, kind, poolId, parentUuid, health, freeMb }) => ({
        uuid,
        kind,
        poolId,
        parentUuid,
        health,
        freeMb,
      })),
    ).toEqual([
      { uuid: slice(0), kind: "mig", poolId: `${parent}/gi2`, parentUuid: parent, health: "ok", freeMb: 71_399 },
      { uuid: slice(1), kind: "mig", poolId: `${parent}/gi2`, parentUuid: parent, health: "ok", freeMb: 71_399 },
      { uuid: slice(2), kind: "mig", poolId: `${parent}/gi9`, parentUuid: parent, health: "ok", freeMb: 16_372 },
      { uuid: gpuUuid(1), kind: "full", poolId: undefined, parentUuid: undefined, health: "ok", freeMb: 24_141 },
    ]);
    const { pid } = sleeper();
    fake.update((state) => {
      state.processes = [{ pid, gpuUuid: parent, gi: 9, ci: 0, usedMb: 1000 }];
    });
    await waitFor(() => rig.last.processes?.list.length === 1, "the process");
    expect(rig.last.processes?.list[0]).toMatchObject({ pid, gpuUuid: slice(2), usedMb: 1000 });
    expect(rig.last.gpus.find((each) => each.uuid === slice(2))).toMatchObject({ usedMb: 1012, attribution: true });
  });

  it("follows a partition that is made anew", async () => {
    const { fake, rig } = machine(partitioned());
    await rig.start();
    fake.update((state) => {
      (state.gpus[0] as { mig?: object }).mig = { devices: [{ uuid: slice(7), profile: "7g.141gb", gi: 0, totalMb: 140_000 }] };
    });
    await waitFor(() => rig.last.gpus.some((each) => each.uuid === slice(7) && each.health === "ok"), "the new device");
    expect(rig.last.gpus.filter((each) => each.health === "lost").map((each) => each.uuid)).toEqual([
      slice(0),
      slice(1),
      slice(2),
    ]);
    await waitFor(() => rig.monitor.status().healthy, "a status that does not complain of what was unmade");
  });

  it("admits nothing where another MIG mode is pending", async () => {
    const state = partitioned();
    state.gpus[0] = { ...state.gpus[0], uuid: parent, migPending: "Disabled" };
    const { rig } = machine(state);
    const first = await rig.start();
    expect(first.gpus.map((each) => each.health)).toEqual(["degraded", "degraded", "degraded", "ok"]);
  });

  it("is noticed when it is switched on while measuring", async () => {
    const { fake, rig } = machine({ gpus: [{ uuid: parent }, { uuid: gpuUuid(1) }] });
    await rig.start();
    fake.set(partitioned());
    await rig.until("ok ok ok ok");
    expect(rig.last.gpus.some((each) => each.uuid === parent)).toBe(false);
  });
});
