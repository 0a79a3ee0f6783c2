import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { expect, expectTypeOf, it } from "vitest";
import type * as browser from "../../src/client/browser.ts";
import type * as node from "../../src/client/node.ts";

const src = resolve(import.meta.dirname, "../../src");

/** Every file that an entry reaches by what it imports, and every package, as they are named. Types alone are not reached. */
function reached(entry: string): { files: string[]; others: string[] } {
  const files = new Set<string>();
  const others = new Set<string>();
  const visit = (file: string) => {
    if (files.has(file)) return;
    files.add(file);
    for (const [, what = "", target = ""] of readFileSync(file, "utf8").matchAll(
      /^(?:import|export)\s(?!type\s)(?:([^"';=]*?)\sfrom\s)?"([^"]+)"/gm,
    )) {
      const names = /^\{(.*)\}$/s.exec(what)?.[1]?.split(",") ?? [];
      if (names.length > 0 && names.every((name) => /^\s*(type\s|$)/.test(name))) continue;
      if (target.startsWith(".")) visit(resolve(dirname(file), target));
      else others.add(target);
    }
  };
  visit(resolve(src, entry));
  return { files: [...files].map((file) => relative(src, file)), others: [...others] };
}

it("what a browser loads is no module of Node and no gRPC stack, and nothing of the server", () => {
  const { files, others } = reached("client/browser.ts");
  expect(files).toContain("client/wait.ts");
  expect(files.filter((file) => !file.startsWith("client/"))).toEqual([]);
  const known =
    /^(?:@connectrpc\/connect(?:\/protocol(?:-connect)?)?|@bufbuild\/protobuf(?:\/wkt)?|#gen\/(?:sluice|google)\/.*)$/;
  expect(others.filter((name) => !known.test(name))).toEqual([]);
});

it("the same walk finds both in what Node loads, so that it could fail", () => {
  expect(reached("client/node.ts").others).toEqual(expect.arrayContaining(["node:os", "node:net", "@grpc/grpc-js"]));
});

it("both entries have the same names of the same types, so that a program need not care", () => {
  expectTypeOf<typeof browser>().toEqualTypeOf<typeof node>();
});
