import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeKit } from "./kit-promises.ts";

const root = resolve(import.meta.dirname, "../..");
let folder = "";

// The probe is compiled with the sources as they are now: dist may be older, and the tests of this project need no build.
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-kit-"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  const config = {
    extends: join(root, "test/tsconfig.json"),
    compilerOptions: {
      rootDir: root,
      outDir: join(folder, "out"),
      noEmit: false,
      sourceMap: false,
      typeRoots: [join(root, "node_modules/@types")],
    },
    include: [],
    files: [join(root, "test/kits/programs/probe.ts")],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const built = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder], {
    encoding: "utf8",
  });
  if (built.status !== 0) throw new Error(`the probe could not be compiled: ${built.stdout}${built.stderr}`);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describeKit("typescript", () => [process.execPath, join(folder, "out/test/kits/programs/probe.js")]);

it("is what sluice/worker exports", () => {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const { types, default: code } = exports["./worker"];
  expect([types, code]).toEqual(["./dist/kit/worker.d.ts", "./dist/kit/worker.js"]);
  expect(existsSync(join(root, "src/kit/worker.ts"))).toBe(true);
});
