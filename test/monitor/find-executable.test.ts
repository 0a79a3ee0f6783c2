import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, join, relative } from "node:path";
import { expect, it } from "vitest";
import { findOnPath, isExecutableFile } from "../../src/monitor/find-executable.ts";
import { fixtureRoot } from "./host/fixture-root.ts";

function folders() {
  const root = fixtureRoot({ "first/notes": "x", "second/tool": "#!/bin/sh\n", "third/tool": "#!/bin/sh\n" });
  chmodSync(join(root, "second/tool"), 0o755);
  chmodSync(join(root, "third/tool"), 0o755);
  const path = (...names: readonly string[]) => names.map((n) => join(root, n)).join(delimiter);
  return { root, path };
}

it("finds the first executable file in the order of the path", () => {
  const { root, path } = folders();
  expect(findOnPath("tool", path("missing", "first", "second", "third"))).toBe(join(root, "second/tool"));
  expect(findOnPath("tool", path("third", "second"))).toBe(join(root, "third/tool"));
  expect(findOnPath("tool", path("first"))).toBeUndefined();
  expect(findOnPath("tool", "")).toBeUndefined();
});

it("passes over files that may not be executed, folders, and links to nothing", () => {
  const { root, path } = folders();
  mkdirSync(join(root, "first/tool"));
  mkdirSync(join(root, "zero"));
  symlinkSync(join(root, "nothing"), join(root, "zero/tool"));
  expect(findOnPath("tool", path("first", "zero", "second"))).toBe(join(root, "second/tool"));
  writeFileSync(join(root, "first/plain"), "", { mode: 0o644 });
  expect(isExecutableFile(join(root, "first/plain"))).toBe(false);
  expect(isExecutableFile(join(root, "first"))).toBe(false);
});

it("does not look in folders that are not absolute, nor behind names with a slash", () => {
  const { root, path } = folders();
  const here = relative(process.cwd(), join(root, "second"));
  expect(findOnPath("tool", [here, "", "."].join(delimiter))).toBeUndefined();
  expect(findOnPath("second/tool", root)).toBeUndefined();
  expect(findOnPath("../second/tool", path("first"))).toBeUndefined();
  expect(findOnPath("", path("second"))).toBeUndefined();
});

it("uses the path of this process when none is given", () => {
  expect(findOnPath("sh")).toMatch(/\/sh$/);
});
