import { spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  Fatal,
  InvalidArguments,
  OutOfMemory,
  runWorker,
  type WorkerContext,
  type WorkerProgram,
} from "../../../src/kit/worker.ts";

// Does with the TypeScript kit what its arguments and KIT_PROBE say. The same as probe.py.
const mode = process.env.KIT_PROBE ?? "";
const never = new Promise<never>(() => {});
let count = 0;
let late: WorkerContext | undefined;
let arrived = 0;
let meet = () => {};
const met = new Promise<void>((resolve) => {
  meet = resolve;
});

async function execute(args: unknown, ctx: WorkerContext): Promise<unknown> {
  switch ((args as { do: string }).do) {
    case "echo":
      count += 1;
      return { got: args, count, id: ctx.executionId };
    case "progress":
      for (const fraction of [0, 0.25, 7, Number.NaN]) ctx.progress(fraction, "step");
      ctx.progress();
      ctx.log("a line\nand ü");
      return undefined;
    case "wait":
      ctx.progress(undefined, "waiting");
      await once(process, "nothing", { signal: ctx.signal });
      return "never";
    case "stubborn":
      ctx.progress(undefined, "waiting");
      await once(ctx.signal, "abort");
      return "too late";
    case "meet":
      arrived += 1;
      if (arrived === 2) meet();
      await met;
      return "met";
    case "hang":
      ctx.progress(undefined, "hanging");
      return await never;
    case "print":
      console.log("print");
      process.stdout.write("file descriptor 1\n");
      spawnSync(process.execPath, ["-e", "console.log('child')"], { stdio: ["ignore", 2, 2] });
      return "printed";
    case "nan":
      return { loss: Number.NaN };
    case "infinity":
      return [Number.POSITIVE_INFINITY];
    case "not-json":
      return { f: () => {} };
    case "cycle": {
      const ring: unknown[] = [];
      ring.push(ring);
      return ring;
    }
    case "huge":
      return "x".repeat(4 * 1_048_576);
    case "out-of-memory":
      throw new OutOfMemory("gpu", 2_048);
    case "framework-text":
      throw new Error("CUDA out of memory. Tried to allocate 2.00 GiB.");
    case "framework-cause":
      throw new TypeError("the step failed", { cause: new Error("CUDA out of memory.") });
    case "ram":
      return new ArrayBuffer(Number.MAX_SAFE_INTEGER);
    case "invalid":
      throw new InvalidArguments("size must be at most 8");
    case "fatal":
      throw new Fatal("the driver is gone");
    case "late":
      late = ctx;
      return "over";
    case "say-late":
      late?.progress(1, "after the answer");
      late?.log("after the answer");
      return "said";
    default:
      throw new RangeError("it broke");
  }
}

const program: WorkerProgram = {
  async initialize(ctx) {
    console.log("loading on stdout");
    if (mode === "load-out-of-memory") throw new OutOfMemory("ram", 300);
    if (mode === "load-fails") throw new Fatal("install the model first");
    if (mode === "load-hangs") {
      ctx.progress(undefined, "stuck");
      await never;
    }
    ctx.progress(0.5, "half");
    ctx.log(
      `${ctx.plugin.name} ${ctx.plugin.version} ${ctx.lease.gpus[0]?.uuid} ${ctx.maxConcurrency} ${ctx.executionId ?? "None"}`,
    );
  },
  execute,
  async shutdown() {
    if (mode === "shutdown-hangs") {
      console.log("hanging for ever");
      await never;
    }
    console.log("last words");
  },
};

runWorker(
  mode === "no-release"
    ? program
    : {
        ...program,
        release() {
          count = 0;
        },
      },
);
