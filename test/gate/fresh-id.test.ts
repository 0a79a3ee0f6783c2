import { expect, it } from "vitest";
import { freshId } from "../../src/gate/fresh-id.ts";

const count = 20_000;

it("ids are sixteen characters that survive a file name, none comes twice, and each place has every character equally often", () => {
  const ids = Array.from({ length: count }, freshId);
  expect(new Set(ids).size).toBe(count);
  expect(ids.filter((id) => !/^[abcdefghjkmnpqrstvwxyz0-9]{16}$/.test(id))).toEqual([]);
  for (let place = 0; place < 16; place++) {
    const times = new Map<string, number>();
    for (const id of ids) times.set(id.charAt(place), (times.get(id.charAt(place)) ?? 0) + 1);
    expect(times.size).toBe(32);
    // 625 each, with a standard deviation of 25.
    expect(Math.max(...times.values())).toBeLessThan(800);
    expect(Math.min(...times.values())).toBeGreaterThan(450);
  }
});
