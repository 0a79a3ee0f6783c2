// Compares proto/ with the state that landed last: the newest tag, else the parent of the first commit that is not on the remote's
// main branch, else the parent commit. A repository without a past has nothing to break.
import { execFileSync } from "node:child_process";

function git(...args) {
  try {
    return execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "";
  }
}

const candidates = [
  git("describe", "--tags", "--abbrev=0"),
  git("merge-base", "HEAD", "origin/main"),
  git("rev-parse", "HEAD~1"),
];
const head = git("rev-parse", "HEAD");
const base = candidates.find(
  (c) => c !== "" && git("rev-parse", `${c}^{commit}`) !== head && git("ls-tree", c, "proto/sluice/v1") !== "",
);
if (base === undefined) {
  process.stdout.write("buf breaking: nothing has landed yet to compare with\n");
} else {
  process.stdout.write(`buf breaking against ${base}\n`);
  execFileSync("npx", ["buf", "breaking", "--against", `.git#ref=${base}`], { stdio: "inherit" });
}
