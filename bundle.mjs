// Makes dist/bin: the program in a few files, which Node reads in half the time that hundreds take. `sluice run` starts in front of
// every job. Part of `npm run build`, after tsc.
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "rolldown";

const common = {
  platform: "node",
  // The first has a part in machine code, which it looks for beside itself. The second is loaded by grpc-js for services that sluice
  // does not have, and brings a second implementation of Protocol Buffers with it.
  external: ["libsql", "@grpc/proto-loader"],
  // What a command loads late is in the server's file anyway, and early there.
  checks: { ineffectiveDynamicImport: false },
};
/** Without comments and blanks, which are half of it and are read at each start. Functions and classes keep their names, for stacks in a log. */
const output = {
  dir: "dist/bin",
  format: "esm",
  minify: { compress: false, mangle: { keepNames: { function: true, class: true } }, codegen: true },
};

// Left to itself the bundler would put what all commands share into the largest of them, the server, and all would read that.
const groups = [
  { name: "grpc", test: /node_modules[\\/](@grpc|protobufjs|@protobufjs)[\\/]/ },
  { name: "proto", test: /node_modules[\\/]@(bufbuild|connectrpc)[\\/]|[\\/]gen[\\/]ts[\\/]/ },
  { name: "shared", test: /[\\/]dist[\\/]/, minShareCount: 2 },
];

await build([
  { ...common, input: { sluice: "dist/cli/main.js" }, output: { ...output, cleanDir: true, codeSplitting: { groups } } },
]);
// A thread and a process of their own, found by their names beside the file that starts them.
await build([
  {
    ...common,
    input: { "journal-main": "dist/store/journal-main.js", "guardian-main": "dist/executor/guardian-main.js" },
    output: { ...output, cleanDir: false },
  },
]);
// A file with one character beyond Latin-1 is kept in memory, and read, at two bytes for each of all its characters.
for (const file of readdirSync("dist/bin")) {
  const path = `dist/bin/${file}`;
  const text = readFileSync(path, "utf8");
  const ascii = text.replace(/[^\0-\x7f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  if (ascii !== text) writeFileSync(path, ascii);
}
chmodSync("dist/bin/sluice.js", 0o755);
