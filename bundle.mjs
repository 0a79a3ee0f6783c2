// Makes dist/bin: the program in a few files, which Node reads in half the time that hundreds take. `sluice run` starts in front of
// every job. Part of `npm run build`, after tsc.
import { chmodSync } from "node:fs";
import { build } from "rolldown";

/** Not minified, so that a stack in a log names functions. */
const common = {
  platform: "node",
  // It has a part in machine code, which it looks for beside itself.
  external: ["libsql"],
  // What a command loads late is in the server's file anyway, and early there.
  checks: { ineffectiveDynamicImport: false },
};
const output = { dir: "dist/bin", format: "esm" };

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
chmodSync("dist/bin/sluice.js", 0o755);
