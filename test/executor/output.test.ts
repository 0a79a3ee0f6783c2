import fc from "fast-check";
import { expect, it } from "vitest";
import { firstText, TailBytes } from "../../src/executor/bytes.ts";
import { LineSplitter, ResultCollector } from "../../src/executor/output.ts";

function collect(...chunks: (string | Uint8Array)[]) {
  const collector = new ResultCollector();
  const told: string[] = [];
  for (const chunk of chunks) told.push(...collector.push(Buffer.from(chunk)));
  const live = told.length;
  told.push(...collector.end());
  return { told, live, result: collector.result() };
}

it("takes the last line as the result when it is JSON, and tells the others", () => {
  expect(collect('loading\n{"step":1}\n{"text"', ':"hi"}\n')).toEqual({
    told: ["loading", '{"step":1}'],
    live: 2,
    result: { value: { text: "hi" } },
  });
  expect(collect("done\r\n42\r\n\n \n").result).toEqual({ value: 42 });
  expect(collect("null").result).toEqual({ value: null });
});

it("takes everything as the result when the last line is not JSON, and tells it at once", () => {
  expect(collect("hello\nworld\n")).toEqual({ told: ["hello", "world"], live: 2, result: { value: "hello\nworld\n" } });
  expect(collect('{"a":1}\nbye').result).toEqual({ value: '{"a":1}\nbye' });
  expect(collect().result).toEqual({ value: "" });
  expect(collect(Buffer.from([0x61, 0xff, 0x0a])).result).toEqual({ value: "a\ufffd\n" });
});

it("keeps the order of lines when one that looked like a result was none", () => {
  expect(collect("1\n\n\n2\nend\n").told).toEqual(["1", "", "", "2", "end"]);
});

it("tells at most 8 KiB of a line, but takes a result of up to 1 MiB", () => {
  const long = JSON.stringify("x".repeat(1_000_000));
  const { told, result } = collect(long, "\n", long, "\n");
  expect(told).toEqual([long.slice(0, 8_192)]);
  expect(result).toEqual({ value: "x".repeat(1_000_000) });
});

it("says why there is no result: too large, too much without JSON at the end, too deep", () => {
  expect(collect(JSON.stringify("x".repeat(1_048_576))).result).toEqual({
    problem: "Its result is larger than 1048576 bytes.",
  });
  expect(collect(`${"y".repeat(1000)}\n`.repeat(1_100)).result).toMatchObject({ problem: expect.stringMatching(/not JSON/) });
  expect(collect("[".repeat(40) + "]".repeat(40)).result).toMatchObject({ problem: expect.stringMatching(/32 levels/) });
  expect(collect("1e999").result).toMatchObject({ problem: expect.stringMatching(/too large/) });
  // Much output before a JSON line is fine: only the last line counts.
  expect(collect(`${"y".repeat(1000)}\n`.repeat(1_100), "7\n").result).toEqual({ value: 7 });
});

it("finds the same lines however the bytes are cut into chunks", () => {
  const text = fc
    .array(fc.constantFrom("a", "ä", "\n", "\r", "\r\n", "bc"), { maxLength: 40 })
    .map((p) => Buffer.from(p.join("")));
  fc.assert(
    fc.property(text, fc.array(fc.nat(10)), fc.boolean(), (bytes, cuts, bars) => {
      const lines = (chunks: Buffer[]) => {
        const splitter = new LineSplitter(100, bars);
        return [...chunks.flatMap((c) => [...splitter.push(c)]), ...splitter.end()].map((l) => l.bytes.toString());
      };
      const chunks: Buffer[] = [];
      let rest = bytes;
      for (const cut of cuts) {
        chunks.push(rest.subarray(0, cut));
        rest = rest.subarray(cut);
      }
      expect(lines([...chunks, rest])).toEqual(lines([bytes]));
      // Nothing but line ends is lost.
      expect(lines([bytes]).join("").replaceAll("\r", "")).toBe(bytes.toString().replace(/[\r\n]/g, ""));
    }),
  );
});

it("ends a line of stderr at a carriage return, so that progress bars are seen while they move", () => {
  const splitter = new LineSplitter(100, true);
  const lines = [...splitter.push(Buffer.from("10%\r20%\r")), ...splitter.push(Buffer.from("\ndone\r\n"))];
  expect(lines.map((l) => l.bytes.toString())).toEqual(["10%", "20%", "done"]);
});

it("never exceeds its limit and never breaks a character, whatever the bytes", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 60 }),
        fc.string({ unit: "binary" }).map((s) => Buffer.from(s)),
      ),
      (bytes) => {
        const first = firstText(Buffer.from(bytes), 10);
        expect(Buffer.byteLength(first)).toBeLessThanOrEqual(10);
        const tail = new TailBytes(10);
        for (const byte of bytes) tail.append(Uint8Array.of(byte));
        expect(Buffer.byteLength(tail.text())).toBeLessThanOrEqual(10);
      },
    ),
  );
  expect(firstText(Buffer.from("ääää"), 5)).toBe("ää");
  const tail = new TailBytes(5);
  tail.append(Buffer.from("ääää"));
  expect(tail.text()).toBe("ää");
});
