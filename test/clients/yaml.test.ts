import { describe, expect, it } from "vitest";
import { readYaml } from "./yaml.ts";

describe("the part of YAML that scenarios are written in", () => {
  it("has maps, lists of maps, flow values over several lines, and comments", () => {
    const text = `
# a comment
list:
  - call: Allocate   # another
    with: { a: 1, b: [x, "y # z", { c: -2.5 }], d: {} }
  - - nested
    - 7
below:
- same column
long:
  { key: [1], other: 2 }
flow: {
  one: 1,
  two: [a,
    b],
}
`;
    expect(readYaml(text)).toEqual({
      list: [{ call: "Allocate", with: { a: 1, b: ["x", "y # z", { c: -2.5 }], d: {} } }, ["nested", 7]],
      below: ["same column"],
      long: { key: [1], other: 2 },
      flow: { one: 1, two: ["a", "b"] },
    });
  });

  it("tells text from numbers and words, and keeps quotes, colons and every script", () => {
    expect(
      readYaml(`a: 007\nb: "5"\nc: 5\nd: true\ne: null\nf: 'it''s'\ng: 127.0.0.1:80\n"ключ 😀": "\\u00e9"\nh: 2s`),
    ).toEqual({
      a: "007",
      b: "5",
      c: 5,
      d: true,
      e: null,
      f: "it's",
      g: "127.0.0.1:80",
      "ключ 😀": "é",
      h: "2s",
    });
  });

  it.each([
    ["a: 1\na: 2", "line 2"],
    ["a:\n  - {b: 1", "line 2"],
    ["a: 1\n  b: 2", "line 2"],
    ["\ta: 1", "line 1"],
    ['a: "x', "line 1"],
    ["a: {b}", "line 1"],
    ["just words\nand more", "line 1"],
  ])("an error names its line: %j", (text, line) => {
    expect(() => readYaml(text)).toThrow(line);
  });
});
