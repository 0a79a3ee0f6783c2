import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { running } from "../executor/house.ts";
import { waitFor } from "../wait-for.ts";
import { initializeParams, KitProcess } from "./kit-process.ts";

const open: KitProcess[] = [];

/**
 * What docs/workers.md asks of every kit, for a probe that is written with it.
 * @param command starts the probe; asked when the first test runs.
 */
export function describeKit(name: string, command: () => readonly string[]): void {
  const start = (mode = ""): KitProcess => {
    const kit = new KitProcess(command(), { KIT_PROBE: mode });
    open.push(kit);
    return kit;
  };
  const ready = async (mode = ""): Promise<KitProcess> => {
    const kit = start(mode);
    expect((await kit.call("initialize", initializeParams)).error).toBeUndefined();
    return kit;
  };
  afterEach(async () => {
    await Promise.all(open.splice(0).map((kit) => kit.kill()));
  });

  describe(`${name}: loading`, () => {
    it("says that it can release when the program can", async () => {
      const kit = start();
      expect(await kit.call("initialize", initializeParams)).toEqual({
        jsonrpc: "2.0",
        id: 1,
        result: { capabilities: { release: true } },
      });
    });

    it("says that it cannot release when the program cannot", async () => {
      const kit = start("no-release");
      expect((await kit.call("initialize", initializeParams)).result).toEqual({ capabilities: { release: false } });
    });

    it("tells progress and log without an execution, and knows what it was started with", async () => {
      const kit = await ready();
      expect(kit.notifications("progress").map((m) => m.params)).toEqual([{ fraction: 0.5, message: "half" }]);
      expect(kit.notifications("log").map((m) => m.params)).toEqual([{ message: "probe 1.2.3 GPU-0 2 None" }]);
    });

    it("answers out of memory with what it needed", async () => {
      const { error } = await start("load-out-of-memory").call("initialize", initializeParams);
      expect(error).toEqual({ code: -32001, message: "Out of memory.", data: { resource: "ram", needed_mb: 300 } });
    });

    it("answers a failure in plain words, without a trace, and is not ready then", async () => {
      const kit = start("load-fails");
      const { error } = await kit.call("initialize", initializeParams);
      expect(error).toEqual({ code: -32000, message: "install the model first", data: { fatal: true } });
      expect((await kit.run({ do: "echo" })).error?.code).toBe(-32600);
      expect(kit.stderr).not.toMatch(/Traceback|at .*:\d+/);
    });

    it("refuses executions before it is loaded", async () => {
      const { error } = await start().run({ do: "echo" });
      expect(error?.code).toBe(-32600);
      expect(error?.message).toContain("initialize comes first");
    });

    it("refuses to be initialized twice, and a protocol that it does not speak", async () => {
      const kit = start();
      const { error } = await kit.call("initialize", { ...initializeParams, protocol: 2 });
      expect(error).toMatchObject({ code: -32602, message: expect.stringContaining("the server asks for 2") });
      expect((await kit.call("initialize", initializeParams)).result).toBeDefined();
      expect((await kit.call("initialize", initializeParams)).error).toMatchObject({
        code: -32600,
        message: "initialize comes only once.",
      });
    });
  });

  describe(`${name}: executing`, () => {
    it("hands arguments over as they are and answers the result, whatever is in it, and stays for the next", async () => {
      const kit = await ready();
      const args = {
        do: "echo",
        half: "\ud83d",
        text: "ü 😀 \u2028 \u0000 \\n",
        deep: [[{ a: null, b: [1.5, -0.25, 1e300] }]],
      };
      expect((await kit.run(args)).result).toEqual({ got: args, count: 1, id: "e2" });
      expect((await kit.run(args)).result).toEqual({ got: args, count: 2, id: "e3" });
    });

    it("reads a message of nearly 4 MiB", async () => {
      const kit = await ready();
      const args = { do: "echo", text: "ü".repeat(500_000), more: "x".repeat(2_000_000) };
      expect(((await kit.run(args)).result as { got: unknown }).got).toEqual(args);
    });

    it("tells progress and log with the execution, and a fraction always from 0 to 1", async () => {
      const kit = await ready();
      const before = kit.messages.length;
      expect((await kit.run({ do: "progress" })).result).toBeNull();
      const of = { execution_id: "e2" };
      expect(kit.messages.slice(before).map((m) => m.params ?? m.result)).toEqual([
        { ...of, fraction: 0, message: "step" },
        { ...of, fraction: 0.25, message: "step" },
        { ...of, fraction: 1, message: "step" },
        { ...of, message: "step" },
        of,
        { ...of, message: "a line\nand ü" },
        null,
      ]);
    });

    it("says nothing more about an execution once it is answered", async () => {
      const kit = await ready();
      await kit.run({ do: "late" });
      const before = kit.messages.length;
      expect((await kit.run({ do: "say-late" })).result).toBe("said");
      expect(kit.messages).toHaveLength(before + 1);
    });

    it("works on several executions at the same time", async () => {
      const kit = await ready();
      const [one, other] = [kit.execute({ do: "meet" }), kit.execute({ do: "meet" })];
      expect([(await kit.answerTo(one)).result, (await kit.answerTo(other)).result]).toEqual(["met", "met"]);
    });

    it("gives up the execution that is cancelled, and no other", async () => {
      const kit = await ready();
      const [one, other] = [kit.execute({ do: "wait" }), kit.execute({ do: "wait" })];
      await waitFor(() => kit.notifications("progress").length === 3, "both to wait");
      kit.notify("$/cancelRequest", { id: other });
      expect((await kit.answerTo(other)).error).toEqual({ code: -32800, message: "The execution was cancelled." });
      expect(kit.messages.some((m) => m.id === one)).toBe(false);
      kit.notify("$/cancelRequest", { id: one });
      expect((await kit.answerTo(one)).error?.code).toBe(-32800);
      expect((await kit.run({ do: "echo" })).error).toBeUndefined();
    });

    it("answers the result when the cancellation came too late", async () => {
      const kit = await ready();
      const id = kit.execute({ do: "stubborn" });
      await waitFor(() => kit.notifications("progress").length === 2, "it to wait");
      kit.notify("$/cancelRequest", { id });
      expect((await kit.answerTo(id)).result).toBe("too late");
    });

    it("does not care about a cancellation of something that is over or was never asked", async () => {
      const kit = await ready();
      await kit.run({ do: "echo" });
      for (const id of [2, 99, "x", null, true, {}]) kit.notify("$/cancelRequest", { id });
      kit.notify("$/cancelRequest", {});
      kit.write('{"jsonrpc":"2.0","method":"$/cancelRequest"}');
      expect((await kit.run({ do: "echo" })).result).toMatchObject({ count: 2 });
    });

    it("never writes anything but messages to stdout, whatever is printed", async () => {
      const kit = await ready();
      expect((await kit.run({ do: "print" })).result).toBe("printed");
      await waitFor(() => kit.stderr.includes("child"), "what was printed on stderr");
      expect(kit.stderr).toContain("print\n");
      expect(kit.stderr).toContain("file descriptor 1\n");
      expect(kit.stderr).toContain("loading on stdout");
      expect(kit.strays).toEqual([]);
    });
  });

  describe(`${name}: errors`, () => {
    it.each([
      ["nan", /cannot be sent: .*nan/i],
      ["infinity", /cannot be sent: .*inf/i],
      ["not-json", /cannot be sent: .*function/],
      ["cycle", /cannot be sent: .*circular/i],
      ["huge", /cannot be sent: it is 4194\d+ bytes long/],
    ])("says that a result which is %s cannot be sent, and works on", async (what, message) => {
      const kit = await ready();
      const { error } = await kit.run({ do: what });
      expect(error).toMatchObject({ code: -32603, message: expect.stringMatching(message) });
      expect((await kit.run({ do: "echo" })).error).toBeUndefined();
    });

    it.each([
      ["out-of-memory", { code: -32001, message: "Out of GPU memory.", data: { resource: "gpu", needed_mb: 2048 } }],
      ["framework-text", { code: -32001, message: expect.stringContaining("CUDA out of memory"), data: { resource: "gpu" } }],
      ["framework-cause", { code: -32001, message: expect.stringContaining("the step failed"), data: { resource: "gpu" } }],
      ["ram", { code: -32001, message: expect.any(String), data: { resource: "ram" } }],
      ["invalid", { code: -32602, message: "size must be at most 8" }],
      ["fatal", { code: -32000, message: "the driver is gone", data: { fatal: true } }],
    ])("answers %s as what it is", async (what, error) => {
      const kit = await ready();
      expect((await kit.run({ do: what })).error).toEqual(error);
    });

    it("answers an exception with its name and text, leaves its trace on stderr, and works on", async () => {
      const kit = await ready();
      const { error } = await kit.run({ do: "break" });
      expect(error).toEqual({ code: -32000, message: expect.stringMatching(/^R\w+Error: it broke$/) });
      await waitFor(() => /probe\.\w+.*\d+/.test(kit.stderr), "the trace");
      expect((await kit.run({ do: "echo" })).error).toBeUndefined();
    });

    it("answers malformed messages by the rules of JSON-RPC, and works on", async () => {
      const kit = await ready();
      const before = kit.messages.length;
      const lines: [string | Buffer, number | string | null, number][] = [
        ["no JSON", null, -32700],
        [Buffer.from([0x22, 0xff, 0xfe]), null, -32700],
        ['{"jsonrpc":"2.0","id":1', null, -32700],
        ['{"jsonrpc":"2.0","id":50,"method":"execute","params":{"x":NaN}}', null, -32700],
        ["x".repeat(4 * 1_048_576 + 1), null, -32700],
        ["7", null, -32600],
        ["[]", null, -32600],
        ['[{"jsonrpc":"2.0","id":51,"method":"execute"}]', null, -32600],
        ["{}", null, -32600],
        ['{"jsonrpc":"2.0","id":52}', 52, -32600],
        ['{"jsonrpc":"2.0","id":"five","method":7}', "five", -32600],
        ['{"jsonrpc":"1.0","id":53,"method":"execute"}', 53, -32600],
        ['{"jsonrpc":"2.0","id":54,"method":"execute","params":"x"}', 54, -32600],
        ['{"jsonrpc":"2.0","id":null,"method":"execute"}', null, -32600],
        ['{"jsonrpc":"2.0","id":{},"method":"execute"}', null, -32600],
        ['{"jsonrpc":"2.0","id":55,"method":"unload"}', 55, -32601],
        ['{"jsonrpc":"2.0","id":56,"method":"execute","params":[1]}', 56, -32602],
        ['{"jsonrpc":"2.0","id":57,"method":"execute","params":{"arguments":{}}}', 57, -32602],
        ['{"jsonrpc":"2.0","id":58,"method":"execute","params":{"execution_id":"e"}}', 58, -32602],
        ['{"jsonrpc":"2.0","id":59,"method":"initialize"}', 59, -32600],
      ];
      for (const [line] of lines) kit.write(line);
      for (const silent of [
        "",
        "  \r",
        '{"jsonrpc":"2.0","method":"execute","params":{}}',
        '{"jsonrpc":"2.0","method":"unheard"}',
        '{"jsonrpc":"2.0","id":1,"result":2}',
        '{"id":1,"result":2}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}',
      ]) {
        kit.write(silent);
      }
      expect((await kit.run({ do: "echo" })).error).toBeUndefined();
      const answers = kit.messages.slice(before, -1).map((m) => [m.id, m.error?.code]);
      const inAnyOrder = (list: unknown[]) => list.map((one) => JSON.stringify(one)).sort();
      expect(inAnyOrder(answers)).toEqual(inAnyOrder(lines.map(([, id, code]) => [id, code])));
    });
  });

  describe(`${name}: giving memory back`, () => {
    it("releases, and the next execution works", async () => {
      const kit = await ready();
      await kit.run({ do: "echo" });
      expect((await kit.call("release", {})).result).toBeNull();
      expect((await kit.run({ do: "echo" })).result).toMatchObject({ count: 1 });
    });

    it("refuses to release while something runs", async () => {
      const kit = await ready();
      const id = kit.execute({ do: "wait" });
      await waitFor(() => kit.notifications("progress").length === 2, "it to wait");
      expect((await kit.call("release", {})).error).toMatchObject({
        code: -32600,
        message: expect.stringContaining("under way: 1"),
      });
      kit.notify("$/cancelRequest", { id });
      await kit.answerTo(id);
      expect((await kit.call("release", {})).result).toBeNull();
    });
  });

  describe(`${name}: the end`, () => {
    it("says its last words, answers, and exits with 0 when it is asked to shut down", async () => {
      const kit = await ready();
      const id = kit.ask("shutdown", {});
      expect(await kit.ended).toEqual({ code: 0, signal: null });
      expect(kit.messages.at(-1)).toEqual({ jsonrpc: "2.0", id, result: null });
      expect(kit.stderr).toContain("last words");
    });

    it("shuts down while it works, and within the time that sluice gives when its last words do not end", async () => {
      const kit = await ready("shutdown-hangs");
      kit.execute({ do: "hang" });
      await waitFor(() => kit.notifications("progress").length === 2, "it to hang");
      const from = performance.now();
      kit.ask("shutdown", {});
      expect(await kit.ended).toEqual({ code: 0, signal: null });
      expect(performance.now() - from).toBeLessThan(5_000);
    });

    it("exits with 0 after its last words on SIGTERM, also while it works", async () => {
      const kit = await ready();
      kit.execute({ do: "hang" });
      await waitFor(() => kit.notifications("progress").length === 2, "it to hang");
      kit.child.kill("SIGTERM");
      expect(await kit.ended).toEqual({ code: 0, signal: null });
      expect(kit.stderr.split("last words")).toHaveLength(2);
    });

    it("does not care about SIGINT, which a terminal sends to everybody", async () => {
      const kit = await ready();
      kit.child.kill("SIGINT");
      expect((await kit.run({ do: "echo" })).error).toBeUndefined();
    });

    it("exits at once when stdin ends, also while it works, after its last words", async () => {
      const kit = await ready();
      kit.execute({ do: "hang" });
      await waitFor(() => kit.notifications("progress").length === 2, "it to hang");
      kit.child.stdin.end();
      expect(await kit.ended).toEqual({ code: 0, signal: null });
      expect(kit.stderr.split("last words")).toHaveLength(2);
    });

    it("exits soon when stdin ends, also when its last words do not end", async () => {
      const kit = await ready("shutdown-hangs");
      const from = performance.now();
      kit.child.stdin.end();
      expect(await kit.ended).toEqual({ code: 0, signal: null });
      expect(kit.stderr).toContain("hanging for ever");
      expect(performance.now() - from).toBeLessThan(4_000);
    });

    it("exits at once when stdin ends while it loads, without last words of what was never there", async () => {
      const kit = start("load-hangs");
      kit.ask("initialize", initializeParams);
      await waitFor(() => kit.notifications("progress").length === 1, "it to load");
      kit.child.stdin.end();
      expect(await kit.ended).toEqual({ code: 0, signal: null });
      expect(kit.stderr).not.toContain("last words");
    });

    it("is gone soon after whoever started it was killed, also while it works", async () => {
      // The pipes are between the two, as between sluice and its workers.
      const line = (id: number, method: string, params: object) => JSON.stringify({ jsonrpc: "2.0", id, method, params });
      const code = `const [program, ...args] = ${JSON.stringify(command())};
        const child = require("node:child_process").spawn(program, args, { stdio: ["pipe", "pipe", "ignore"] });
        const say = (line) => child.stdin.write(line + "\\n");
        say(${JSON.stringify(line(1, "initialize", initializeParams))});
        let text = "";
        child.stdout.on("data", (data) => {
          text += data;
          if (text.includes("capabilities")) say(${JSON.stringify(line(2, "execute", { execution_id: "e", arguments: { do: "hang" } }))});
          if (text.includes("hanging")) console.log(child.pid);
          if (text.endsWith("\\n")) text = "";
        });`;
      const between = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
      try {
        const [data] = (await once(between.stdout, "data")) as [Buffer];
        const pid = Number(data.toString());
        expect(running(pid)).toBe(true);
        between.kill("SIGKILL");
        await waitFor(() => !running(pid), "the worker to be gone");
      } finally {
        between.kill("SIGKILL");
      }
    });
  });
}
