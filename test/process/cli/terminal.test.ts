import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { afterEach, describe, expect, it } from "vitest";
import { waitFor } from "../../wait-for.ts";
import { type FakeGate, startFakeGate } from "./fake-gate.ts";
import { main } from "./started-cli.ts";

// Node cannot open a terminal by itself. This runs a command in one, passes on what it prints, types what comes on standard
// input, and exits with its code.
const terminal = `
import os, pty, select, sys
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
open_input = True
while True:
    ready, _, _ = select.select([master] + ([0] if open_input else []), [], [])
    if 0 in ready:
        typed = os.read(0, 1024)
        open_input = bool(typed)
        if typed: os.write(master, typed)
    if master in ready:
        try: shown = os.read(master, 65536)
        except OSError: break
        if not shown: break
        os.write(1, shown)
_, status = os.waitpid(pid, 0)
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
`;

const hasPython = spawnSync("python3", ["-c", "import pty"]).status === 0;
// biome-ignore lint/suspicious/noConsole: a skipped test must not go unnoticed.
if (!hasPython) console.warn("skipped: what happens in a terminal needs python3 to open one");

let gate: FakeGate;
let screen: ChildProcess | undefined;
afterEach(() => {
  screen?.kill("SIGKILL");
  screen = undefined;
  gate.close();
});

function inTerminal(argv: readonly string[]) {
  const child = spawn("python3", ["-c", terminal, process.execPath, main, ...argv], { stdio: ["pipe", "pipe", "inherit"] });
  screen = child;
  let shown = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
  });
  const end = new Promise<number | null>((resolve) => child.once("close", (code) => resolve(code)));
  return { shown: () => shown, type: (keys: string) => child.stdin.write(keys), end };
}

describe.skipIf(!hasPython)("in a terminal", () => {
  it("Ctrl-C reaches the command once: the terminal has sent it already, so it is not passed on a second time", async () => {
    gate = await startFakeGate();
    const counting =
      'n=0; trap "n=\\$((n+1))" INT; echo ready; i=0; while [ $i -lt 16 ]; do sleep 0.05; i=$((i+1)); done; echo "count $n"';
    const screen = inTerminal(["run", "--vram", "1", "--address", gate.address, "--", "sh", "-c", counting]);
    await waitFor(() => screen.shown().includes("ready"), "the command to run");
    screen.type("\x03");
    expect(await screen.end).toBe(0);
    expect(screen.shown()).toContain("count 1");
    expect(gate.names()).toContain("ReleaseLease");
  });

  it("Ctrl-C ends a wait with 130, and the line is taken away", async () => {
    gate = await startFakeGate({ queued: ["GPU 0 is full."], outcome: "wait" });
    const screen = inTerminal(["run", "--vram", "1", "--address", gate.address, "--", "echo", "started"]);
    await waitFor(() => screen.shown().includes("GPU 0 is full."), "the wait line");
    expect(screen.shown()).toBe("\rsluice: waiting 0s, place 3 of 7: GPU 0 is full.\x1b[K");
    screen.type("\x03");
    expect(await screen.end).toBe(130);
    expect(screen.shown().endsWith("\r\x1b[K")).toBe(true);
    expect(screen.shown()).not.toContain("started");
  });

  it("the command reads what is typed", async () => {
    gate = await startFakeGate();
    const screen = inTerminal([
      "run",
      "--vram",
      "1",
      "--address",
      gate.address,
      "--",
      "sh",
      "-c",
      "echo ready; read -r line; echo heard $line",
    ]);
    await waitFor(() => screen.shown().includes("ready"), "the command to run");
    screen.type("hello\n");
    expect(await screen.end).toBe(0);
    expect(screen.shown()).toContain("heard hello");
  });
});
