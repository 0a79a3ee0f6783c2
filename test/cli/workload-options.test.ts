import { describe, expect, it } from "vitest";
import { seconds } from "../../src/cli/workload-options.ts";

describe("a number of seconds on the command line", () => {
  it("becomes whole milliseconds: 2.01 s once became a number that no message can carry", () => {
    expect(["2.01", "3.007", "0.0015", "4.03", "0"].map(seconds)).toEqual([2_010, 3_007, 2, 4_030, 0]);
  });

  it("that is none is refused with what is allowed", () => {
    for (const text of ["", "-1", "1e3", "1s", "31622401"]) expect(() => seconds(text), text).toThrow(/from 0 to 31622400/);
  });
});
