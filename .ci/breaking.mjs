// Compares proto/sluice with every earlier state of it, newest first: whatever landed is among them, and clients were generated from it.
// A mistake that never left a working copy is squashed away, not reserved.
import { execFileSync } from "node:child_process";

const folder = "proto/sluice";
/** Each comparison costs half a second. */
const atMost = 30;

function git(...args) {
  return execFileSync("git", args, { encoding: "utf8" }).trim();
}

const treeOf = (commit) => git("rev-parse", `${commit}:${folder}`);
const seen = new Set([treeOf("HEAD")]);
const earlier = git("log", "--format=%H", "--", folder).split("\n").filter(Boolean);
const bases = earlier.filter((commit) => {
  const tree = treeOf(commit);
  return !seen.has(tree) && seen.add(tree);
});
// The working copy may differ from HEAD, so HEAD is always among them.
for (const base of ["HEAD", ...bases.slice(0, atMost)]) {
  process.stdout.write(`buf breaking against ${base}\n`);
  execFileSync("npx", ["buf", "breaking", "--against", `.git#ref=${base === "HEAD" ? git("rev-parse", "HEAD") : base}`], {
    stdio: "inherit",
  });
}
