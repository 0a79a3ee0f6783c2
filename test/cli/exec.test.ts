import { describe, expect, it } from "vitest";
import { ExecutionFailure } from "#gen/sluice/v1/executor_pb.js";
import { ReasonCode } from "#gen/sluice/v1/types_pb.js";
import { argumentsOf } from "../../src/cli/exec.ts";
import { Failure } from "../../src/engine/failure.ts";
import { type FakeServices, startFakeServer } from "./fake-server.ts";
import { sluice } from "./run-in-process.ts";

async function exec(executor: NonNullable<FakeServices["executor"]>, ...argv: string[]) {
  const server = await startFakeServer({ executor });
  try {
    return { ...(await sluice(["exec", ...argv, "--address", server.address])), calls: server.calls };
  } finally {
    server.close();
  }
}

describe("arguments of a plugin", () => {
  it("a value is JSON where it is JSON, and text everywhere else", () => {
    expect(argumentsOf({ arg: ["a=1", "b=true", 'c={"d":[2]}', "e=hello world", "f=", "g=1=2", 'h="5"'] })).toEqual({
      a: 1,
      b: true,
      c: { d: [2] },
      e: "hello world",
      f: "",
      g: "1=2",
      h: "5",
    });
  });

  it("--arg is laid over --json-args", () => {
    expect(argumentsOf({ jsonArgs: '{"a": 1, "b": 2}', arg: ["b=3"] })).toEqual({ a: 1, b: 3 });
  });
});

describe("sluice exec", () => {
  it("prints the result alone on standard output, and how it stands and what is logged on standard error", async () => {
    const { code, out, err, calls } = await exec(
      {
        async *streamExecution() {
          yield {
            event: {
              case: "queued",
              value: { position: 2, reasons: [{ code: ReasonCode.BEHIND_IN_QUEUE, message: "1 is served first." }] },
            },
          };
          yield {
            event: { case: "admitted", value: { lease: { id: "l", gpus: [{ uuid: "GPU-a", index: 0, vramMb: 4096 }] } } },
          };
          yield { event: { case: "started", value: { pid: 5 } } };
          yield { event: { case: "progress", value: { fraction: 0.5, message: "half" } } };
          yield { event: { case: "log", value: { line: "loud\u001b[31m", stderr: true } } };
          yield { event: { case: "result", value: { result: { kind: { case: "stringValue", value: "hello" } } } } };
        },
      },
      "whisper",
      "--arg",
      "audio=a.wav",
      "--timeout",
      "5",
    );
    expect({ code, out }).toEqual({ code: 0, out: '"hello"\n' });
    expect(err).toBe(
      "sluice: waiting, place 2: 1 is served first.\nsluice: admitted: GPU 0 (4096 MiB)\nsluice: 50 % half\nloud\\x1b[31m\n",
    );
    expect(calls[0]?.request).toMatchObject({ plugin: "whisper", arguments: { audio: "a.wav" }, timeout: { seconds: 5n } });
  });

  it("exits with 75 and the reasons when it was not admitted, and with 1 when it failed", async () => {
    const failing = (code: ExecutionFailure) => ({
      async *streamExecution() {
        yield {
          event: {
            case: "failed" as const,
            value: {
              code,
              message: "It did not work.",
              refusal: { reasons: [{ code: ReasonCode.NO_GPU, message: "There is no GPU." }] },
            },
          },
        };
      },
    });
    expect(await exec(failing(ExecutionFailure.NOT_ADMITTED), "p")).toMatchObject({
      code: 75,
      out: "",
      err: "sluice: It did not work.\n  - There is no GPU.\n",
    });
    expect((await exec(failing(ExecutionFailure.TIMED_OUT), "p")).code).toBe(75);
    expect((await exec(failing(ExecutionFailure.EXIT), "p")).code).toBe(1);
  });

  it("passes on what the server says about a plugin that it does not know", async () => {
    const { code, err } = await exec(
      {
        // biome-ignore lint/correctness/useYield: it fails before there is anything to say.
        async *streamExecution() {
          throw new Failure("PLUGIN_NOT_FOUND", "There is no plugin named nope; `sluice plugins` lists them.");
        },
      },
      "nope",
    );
    expect({ code, err }).toEqual({ code: 1, err: "sluice: There is no plugin named nope; `sluice plugins` lists them.\n" });
  });
});
