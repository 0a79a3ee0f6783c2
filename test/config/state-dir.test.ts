import { describe, expect, it } from "vitest";
import { stateDirOf } from "../../src/house/state-dir.ts";

const none = { state: "", simulate: "" };

describe("the folder for what outlives the server", () => {
  it("is the one that is named, in memory where that is named, whatever else there is", () => {
    const env = { STATE_DIRECTORY: "/var/lib/sluice", HOME: "/home/u" };
    expect(stateDirOf({ ...none, state: "/data" }, env)).toBe("/data");
    expect(stateDirOf({ state: "here", simulate: "1x1000" }, env)).toBe("here");
    expect(stateDirOf({ ...none, state: ":memory:" }, env)).toBeUndefined();
  });

  it("is the service's, else the user's, by the words of systemd and of the XDG specification", () => {
    const home = { HOME: "/home/u" };
    expect(stateDirOf(none, { ...home, STATE_DIRECTORY: "/var/lib/sluice:/var/lib/more" })).toBe("/var/lib/sluice");
    expect(stateDirOf(none, { ...home, XDG_STATE_HOME: "/x/state" })).toBe("/x/state/sluice");
    expect(stateDirOf(none, { ...home, XDG_STATE_HOME: "relative" })).toBe("/home/u/.local/state/sluice");
    expect(stateDirOf(none, {})).toBeUndefined();
  });

  it("is none for simulated GPUs: promises of memory that does not exist mean nothing to the next life", () => {
    expect(stateDirOf({ ...none, simulate: "2x24576" }, { HOME: "/home/u" })).toBeUndefined();
  });
});
