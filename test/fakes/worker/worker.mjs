// A worker that does as it is told, on raw lines. Its first argument is JSON: what it does when it is asked for something.
import { spawn } from "node:child_process";
import { closeSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";

const options = JSON.parse(process.argv[2] ?? "{}");
if (options.ignoreTerm) process.on("SIGTERM", () => {});

/** Calls that wait to be cancelled, by the id of their message. */
const cancels = new Map();

function write(text) {
  let bytes = Buffer.from(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}
const send = (message) => write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const notify = (method, params) => send({ method, params });
const answer = (id, result = null) => send({ id, result });
const fail = (id, code, message, data) => send({ id, error: { code, message, ...(data === undefined ? {} : { data }) } });

/** Starts a process that stays: in a session of its own when asked, deaf to SIGTERM. */
function grandchild({ detached = false, cleanEnv = false }) {
  const code = 'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000)';
  const child = spawn(process.execPath, ["-e", code], {
    detached,
    stdio: ["ignore", "pipe", "ignore"],
    env: cleanEnv ? {} : process.env,
  });
  return new Promise((resolve) => child.stdout.once("data", () => resolve(child.pid)));
}

const deeds = {
  echo: ({ id, args }) => answer(id, args.value),
  pid: ({ id }) => answer(id, process.pid),
  error: ({ id, args }) => fail(id, args.code, args.message, args.data),
  /** Never answers. */
  hang: () => {},
  /** Waits until it is cancelled, then answers as an obedient worker does, or too late. */
  wait: ({ id, args }) => cancels.set(id, () => (args.late ? answer(id, "late") : fail(id, -32800, "cancelled"))),
  /** Writes raw text to stdout. */
  raw: ({ id, args }) => {
    write(args.text);
    if (args.answer !== false) answer(id);
  },
  /** Writes a line of `bytes` bytes that begins with `head`. */
  longLine: ({ id, args }) => {
    write(`${args.head.replace("ID", String(id))}${"x".repeat(args.bytes - args.head.length - 2)}"}\n`);
    if (args.answer !== false) answer(id);
  },
  /** Says `count` numbered lines, by itself or through stderr or stdout, and answers. */
  say: ({ id, args, executionId }) => {
    for (let i = 0; i < args.count; i += 1) {
      const line = `${args.prefix ?? ""}${i}`;
      if (args.by === "stderr") writeSync(2, `${line}\n`);
      else if (args.by === "stdout") write(`${line}\n`);
      else if (args.by === "progress")
        notify("progress", { execution_id: executionId, message: line, fraction: i / args.count });
      else notify("log", { ...(args.anonymous ? {} : { execution_id: executionId }), message: line });
    }
    answer(id);
  },
  notify: ({ id, args, executionId }) => {
    for (const { method, params } of args.list) {
      notify(method, params?.execution_id === "own" ? { ...params, execution_id: executionId } : params);
    }
    answer(id);
  },
  /** Ends without an answer. */
  die: ({ args }) => {
    if (args.say !== undefined) writeSync(2, args.say);
    if (args.lastAnswer !== undefined) answer(args.lastAnswer, "last words");
    if (args.signal !== undefined) process.kill(process.pid, args.signal);
    else process.exit(args.code ?? 0);
  },
  grandchild: async ({ id, args }) => answer(id, await grandchild(args)),
  closeStdout: () => closeSync(1),
  /** Does not read for ever. */
  deaf: () => {
    process.stdin.pause();
    setInterval(() => {}, 1000);
  },
};

const loads = {
  ok: (id) => answer(id, { capabilities: { release: options.canRelease ?? false } }),
  error: (id) => fail(id, options.code ?? 1, "no such model", options.data),
  die: () => {
    writeSync(2, "no such model\n");
    process.exit(3);
  },
  /** Says something at each signal. */
  slow: (id) => {
    process.on("SIGUSR2", () => notify("progress", { message: "shard", fraction: 0.5 }));
    process.on("SIGWINCH", () => writeSync(2, "."));
    process.on("SIGHUP", () => answer(id, {}));
    notify("log", { message: "begins" });
  },
};

const methods = {
  initialize: ({ id }) => loads[options.load ?? "ok"](id),
  execute: ({ id, params }) => deeds[params.arguments.do]({ id, args: params.arguments, executionId: params.execution_id }),
  release: ({ id }) => {
    if (options.release === "fails") fail(id, 1, "no");
    else if (options.release !== "hangs") answer(id);
  },
  shutdown: ({ id }) => {
    if (options.shutdown === "hangs") return;
    answer(id);
    process.exit(options.exitCode ?? 0);
  },
  "$/cancelRequest": ({ params }) => cancels.get(params.id)?.(),
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const message = JSON.parse(line);
  methods[message.method]?.(message);
});
// The server is gone.
lines.on("close", () => {
  if (!options.ignoreEof) process.exit(0);
});
if (options.ignoreEof) setInterval(() => {}, 1000);
