import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { age, clean, cut, roughly, table, width } from "../../src/cli/text.ts";

describe("text for people", () => {
  it("ages grow from seconds to days", () => {
    expect([0, 999, 45_000, 192_000, 3_725_000, 90_000_000, -5_000].map(age)).toEqual([
      "0s",
      "0s",
      "45s",
      "3m12s",
      "1h02m",
      "1d01h",
      "0s",
    ]);
  });

  it("what is not known exactly has one unit, and an upper bound is never shown as less than it is", () => {
    const shown = [-5, 0, 400, 59_400, 59_600, 61_000, 3_570_000, 7_300_000, 172_800_000];
    expect(shown.map((ms) => roughly(ms))).toEqual(["0 s", "0 s", "0 s", "59 s", "1 min", "1 min", "1 h", "2 h", "2 d"]);
    const unit = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e10 }), (ms) => {
        const [number, word] = roughly(ms, Math.ceil).split(" ");
        expect(Number(number) * unit[word as keyof typeof unit]).toBeGreaterThanOrEqual(ms);
      }),
    );
  });

  it("whatever the text, nothing that a terminal obeys is left in it, and it is one line", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(clean(text)).not.toMatch(/[\p{Cc}\u202a-\u202e\u2028\u2029]/u);
      }),
    );
    expect(clean("a\u001b[31mb\u009bc\td")).toBe("a\\x1b[31mb\\x9bc\\x09d");
  });

  it("what is cut never takes more columns than there are", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 40 }), (text, columns) => {
        expect(width(cut(text, columns))).toBeLessThanOrEqual(columns);
      }),
    );
    expect([cut("place 3 of 7", 8), cut("short", 8), cut("漢字漢字", 5)]).toEqual(["place 3…", "short", "漢字…"]);
  });

  it("columns stay aligned with wide characters", () => {
    const rows = [
      { name: "漢字", n: 5 },
      { name: "x", n: 1234 },
    ];
    const text = table(
      [
        { title: "NAME", cell: (row) => row.name },
        { title: "N", right: true, cell: (row) => String(row.n) },
      ],
      rows,
    );
    expect(text).toBe("NAME     N\n漢字     5\nx     1234\n");
  });
});
