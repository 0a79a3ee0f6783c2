import { once } from "node:events";
import { PassThrough, Readable, Writable } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createMessageConnection, type Message } from "vscode-jsonrpc/node";
import { LineMessageReader, LineMessageWriter } from "../../src/kit/line-transport.ts";
import { waitFor } from "../wait-for.ts";

const limit = 4_096;

/** What a reader told, in order. */
interface Told {
  readonly message?: unknown;
  readonly other?: string;
  readonly cut?: boolean;
}

function reading(stream: Readable, maxLineBytes = limit) {
  const told: Told[] = [];
  const errors: Error[] = [];
  let closes = 0;
  const reader = new LineMessageReader(stream, {
    maxLineBytes,
    onOther: (line, cut) => told.push({ other: line.toString("utf8"), cut }),
  });
  reader.onClose(() => {
    closes += 1;
  });
  reader.onError((error) => errors.push(error));
  return { reader, told, errors, closes: () => closes, listen: () => reader.listen((message) => told.push({ message })) };
}

/** Pushes the bytes in pieces that end at the cuts, and waits until everything was read. */
async function readAll(bytes: Buffer, cuts: readonly number[], maxLineBytes = limit) {
  const ends = [...new Set(cuts.map((c) => c % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces = [...ends, bytes.length]
    .map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end))
    .filter((p) => p.length > 0);
  const all = reading(Readable.from(pieces, { objectMode: false }), maxLineBytes);
  all.listen();
  await waitFor(() => all.closes() > 0, "the end of the stream");
  expect(all.closes()).toBe(1);
  return all;
}

const id = fc.oneof(fc.integer(), fc.string());
// Only what JSON can say: -0 comes back as 0.
const json = fc
  .jsonValue({ noUnicodeString: false, stringUnit: "binary" } as fc.JsonSharedConstraints)
  .map((v) => JSON.parse(JSON.stringify(v)) as unknown);
const params = fc
  .oneof(fc.array(json), fc.dictionary(fc.string({ unit: "binary" }), json))
  .map((p) => JSON.parse(JSON.stringify(p)) as object);
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ jsonrpc: fc.constant("2.0"), id, method: fc.string({ unit: "binary" }), params }),
  fc.record({ jsonrpc: fc.constant("2.0"), method: fc.string({ unit: "binary" }), params }),
  fc.record({ jsonrpc: fc.constant("2.0"), id, result: json }),
  fc.record({
    jsonrpc: fc.constant("2.0"),
    id,
    error: fc.record({ code: fc.integer(), message: fc.string({ unit: "binary" }), data: json }),
  }),
);
const stray = fc.string({ unit: "binary" }).filter((text) => !/[\r\n]/.test(text) && !text.includes("{"));
const cuts = fc.array(fc.nat(), { maxLength: 20 });

describe("reading lines", () => {
  it("answers the same messages and strays in the same order, however the bytes are cut", async () => {
    const item = fc.oneof(
      message.map((m) => ({ line: JSON.stringify(m), told: { message: m } as Told })),
      stray.map((text) => ({ line: text, told: { other: Buffer.from(text).toString("utf8"), cut: false } as Told })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 12 }), cuts, fc.constantFrom("\n", "\r\n"), async (items, at, end) => {
        const { told, errors } = await readAll(Buffer.from(items.map((i) => i.line + end).join("")), at, 1_000_000);
        expect(told).toEqual(items.map((i) => i.told));
        expect(errors).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it("tells the first bytes of a line that is too long once, drops the rest, and goes on with the next line", async () => {
    const line = fc.integer({ min: 0, max: 40 }).map((length) => "abcdefghij".repeat(4).slice(0, length));
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 8 }), cuts, async (lines, at) => {
        const { told } = await readAll(Buffer.from(lines.map((l) => `${l}\n`).join("")), at, 16);
        expect(told).toEqual(lines.map((l) => ({ other: l.slice(0, 16), cut: l.length > 16 })));
      }),
    );
  });

  it("holds no more than the limit of a line that never ends", async () => {
    const megabytes = 64;
    const piece = Buffer.alloc(1_048_576, "x");
    const stream = new PassThrough();
    const { told, listen } = reading(stream, 65_536);
    listen();
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    for (let i = 0; i < megabytes; i += 1) {
      if (!stream.write(piece)) await once(stream, "drain");
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    expect(told.map((t) => [t.other?.length, t.cut])).toEqual([[65_536, true]]);
    expect(most).toBeLessThan(8 * 1_048_576);
    stream.write('\n{"jsonrpc":"2.0","method":"next"}\n');
    await waitFor(() => told.length === 2, "the message behind it");
    expect(told[1]).toEqual({ message: { jsonrpc: "2.0", method: "next" } });
  });

  it("never takes the begin of a line that is too long for a message", async () => {
    const start = '{"jsonrpc":"2.0","method":"m"}';
    const { told } = await readAll(Buffer.from(`${start}${" ".repeat(50)}\n`), [], start.length);
    expect(told).toEqual([{ other: start, cut: true }]);
  });

  it("takes a message of exactly the limit", async () => {
    const line = '{"jsonrpc":"2.0","method":"m"}';
    expect((await readAll(Buffer.from(`${line}\n`), [3], line.length)).told).toEqual([{ message: JSON.parse(line) }]);
  });

  it("reads a last line without an end", async () => {
    expect((await readAll(Buffer.from('x\n{"jsonrpc":"2.0","method":"m"}'), [])).told).toEqual([
      { other: "x", cut: false },
      { message: { jsonrpc: "2.0", method: "m" } },
    ]);
  });

  it.each([
    ["a number", "7"],
    ["a list of messages", '[{"jsonrpc":"2.0","method":"m"}]'],
    ["an object of something else", '{"level":30,"msg":"loaded"}'],
    ["another version", '{"jsonrpc":"1.0","method":"m"}'],
    ["neither method nor result", '{"jsonrpc":"2.0","id":1}'],
    ["an id that is null", '{"jsonrpc":"2.0","id":null,"method":"m"}'],
    ["params that are a text", '{"jsonrpc":"2.0","method":"m","params":"p"}'],
    ["JSON that is cut", '{"jsonrpc":"2.0","method":"m"'],
    ["nothing", ""],
  ])("takes %s as another line", async (_what, line) => {
    expect((await readAll(Buffer.from(`${line}\n`), [])).told).toEqual([{ other: line, cut: false }]);
  });

  it("gives an error without a code one that does not mean out of memory", async () => {
    const { told } = await readAll(
      Buffer.from('{"jsonrpc":"2.0","id":1,"error":"boom"}\n{"jsonrpc":"2.0","id":2,"error":{"message":"bang"}}\n'),
      [],
    );
    expect(told.map((t) => (t.message as { error: unknown }).error)).toEqual([
      { code: -32603, message: '"boom"' },
      { code: -32603, message: "bang" },
    ]);
  });

  it("goes on after somebody who hears a line threw", async () => {
    const stream = new PassThrough();
    const heard: Message[] = [];
    const reader = new LineMessageReader(stream, {
      maxLineBytes: limit,
      onOther: () => {
        throw new Error("not mine");
      },
    });
    const errors: string[] = [];
    reader.onError((error) => errors.push(error.message));
    reader.listen((m) => heard.push(m));
    stream.end('stray\n{"jsonrpc":"2.0","method":"m"}\n');
    await waitFor(() => heard.length === 1, "the message behind it");
    expect(errors).toEqual(["not mine"]);
  });

  it("says once that a stream which broke has closed", async () => {
    const stream = new PassThrough();
    const all = reading(stream);
    all.listen();
    stream.destroy(new Error("broke"));
    await waitFor(() => all.closes() > 0, "the close");
    expect(all.errors.map((e) => e.message)).toEqual(["broke"]);
    expect(all.closes()).toBe(1);
  });
});

describe("pausing", () => {
  const line = (n: number) => `{"jsonrpc":"2.0","method":"m","params":[${n}]}\n`;

  it("tells nothing until it is resumed, then the rest in order and the close last", async () => {
    const stream = new PassThrough();
    const told: string[] = [];
    const reader = new LineMessageReader(stream, { maxLineBytes: limit, onOther: () => {} });
    reader.onClose(() => told.push("closed"));
    reader.listen((m) => {
      told.push(JSON.stringify((m as Message & { params: unknown }).params));
      if (told.length === 2) reader.pause();
    });
    stream.end(line(1) + line(2) + line(3) + line(4));
    await waitFor(() => told.length >= 2, "two messages");
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(told).toEqual(["[1]", "[2]"]);
    reader.resume();
    await waitFor(() => told.includes("closed"), "the close");
    expect(told).toEqual(["[1]", "[2]", "[3]", "[4]", "closed"]);
  });

  it("stops reading the stream, so that whoever writes has to wait", async () => {
    const stream = new PassThrough({ highWaterMark: 100 });
    const all = reading(stream);
    all.reader.pause();
    all.listen();
    let written = 0;
    while (written < 100 && stream.write(line(written))) written += 1;
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(all.told).toEqual([]);
    expect(stream.writableNeedDrain).toBe(true);
    all.reader.resume();
    await waitFor(() => all.told.length === written + 1, "all messages");
    expect(stream.writableNeedDrain).toBe(false);
  });

  it("keeps lines in order when whoever hears one pauses and resumes at once", async () => {
    const stream = new PassThrough();
    const told: unknown[] = [];
    const reader = new LineMessageReader(stream, { maxLineBytes: limit, onOther: () => {} });
    reader.listen((m) => {
      reader.pause();
      reader.resume();
      told.push((m as Message & { params: unknown[] }).params[0]);
    });
    stream.end([1, 2, 3, 4, 5].map(line).join(""));
    await waitFor(() => told.length === 5, "five messages");
    expect(told).toEqual([1, 2, 3, 4, 5]);
  });
});

describe("writing lines", () => {
  it("writes one line for each message, whatever is in it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { maxLength: 6 }), cuts, async (messages, at) => {
        const stream = new PassThrough();
        const writer = new LineMessageWriter(stream);
        const writing = Promise.all(messages.map((m) => writer.write(m)));
        writer.end();
        const bytes = Buffer.concat(await stream.toArray());
        await writing;
        expect(bytes.toString("utf8").split("\n")).toHaveLength(messages.length + 1);
        expect((await readAll(bytes, at, 1_000_000)).told).toEqual(messages.map((m) => ({ message: m })));
      }),
      { numRuns: 50 },
    );
  });

  it("resolves only when the stream has passed the message on", async () => {
    let pass = () => {};
    const stream = new Writable({
      write: (_chunk, _encoding, done) => {
        pass = done;
      },
    });
    let resolved = false;
    const writing = new LineMessageWriter(stream).write({ jsonrpc: "2.0" }).then(() => {
      resolved = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(resolved).toBe(false);
    pass();
    await writing;
  });

  it("rejects, and says so, when the stream broke or the message is not JSON", async () => {
    const stream = new PassThrough();
    const writer = new LineMessageWriter(stream);
    const told: string[] = [];
    writer.onError(([error, , count]) => told.push(`${count}: ${error.message}`));
    await expect(writer.write({ jsonrpc: "2.0", params: 1n } as Message)).rejects.toThrow("BigInt");
    stream.destroy();
    await expect(writer.write({ jsonrpc: "2.0" })).rejects.toThrow();
    expect(told[0]).toMatch(/^1: .*BigInt/);
    expect(told).toHaveLength(2);
  });
});

it("carries requests, answers and cancellation of the library between two sides", async () => {
  const there = new PassThrough();
  const back = new PassThrough();
  const strays: string[] = [];
  const options = { maxLineBytes: limit, onOther: (line: Buffer) => strays.push(line.toString()) };
  const server = createMessageConnection(new LineMessageReader(back, options), new LineMessageWriter(there));
  const worker = createMessageConnection(new LineMessageReader(there, options), new LineMessageWriter(back));
  worker.onRequest("double", (p: { n: number }) => 2 * p.n);
  server.listen();
  worker.listen();
  back.write("stray\n");
  expect(await server.sendRequest("double", { n: 21 })).toBe(42);
  expect(strays).toEqual(["stray"]);
  server.dispose();
  worker.dispose();
});
