// What buf runs for Go, once for each of its two generators: node protoc-gen.mjs protoc-gen-go. Nobody needs Go to change the contract:
// without the one version of a generator that the committed files were made with, this says so in one line, answers no file, and what
// is committed stays as it is.
//
//     xargs -n 1 go install < clients/go/tools/versions.txt
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { CodeGeneratorRequestSchema } from "@bufbuild/protobuf/wkt";

const [, , tool] = process.argv;
const versions = readFileSync(fileURLToPath(new URL("versions.txt", import.meta.url)), "utf8");
const [, version] = new RegExp(`/${tool}@v(\\S+)$`, "m").exec(versions);
const request = fromBinary(CodeGeneratorRequestSchema, readFileSync(0));

/** An answer without files that knows proto3 optional (supported_features = 1). */
const nothing = Buffer.from([0x10, 0x01]);

const folders = [process.env.GOBIN, process.env.GOPATH && join(process.env.GOPATH, "bin"), join(homedir(), "go", "bin")];
const candidates = [...folders.filter(Boolean).map((folder) => join(folder, tool)), tool];
const found = candidates.find((path) => {
  const said = spawnSync(path, ["--version"], { encoding: "utf8" }).stdout?.trim() ?? "";
  return said.split(/[ v]+/).at(-1) === version;
});

if (found === undefined) {
  process.stderr.write(`SKIPPED: Go code was not generated: no ${tool} ${version} in $GOBIN, $GOPATH/bin or on PATH\n`);
  process.stdout.write(nothing);
} else {
  // google/ and grpc/ are in modules of their own, and Go refuses one file registered twice in a process.
  request.fileToGenerate = request.fileToGenerate.filter((name) => name.startsWith("sluice/"));
  const input = toBinary(CodeGeneratorRequestSchema, request);
  const { status, stdout, stderr } = spawnSync(found, [], { input, maxBuffer: 64 * 1024 * 1024 });
  process.stderr.write(stderr);
  if (status !== 0) process.exit(1);
  process.stdout.write(stdout);
}
