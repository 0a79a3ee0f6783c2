import { create, type DescField, type DescMessage, type Message, type MessageInitShape, ScalarType } from "@bufbuild/protobuf";
import fc from "fast-check";

/** Any message of this shape that can be sent, made of values that are likely to be mishandled. */
export function anyMessage(desc: DescMessage, depth = 0): fc.Arbitrary<Message> {
  if (depth > 4) return fc.constant(create(desc));
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  for (const member of desc.members) {
    if (member.kind === "oneof") {
      const cases = member.fields.map((f) => one(f, depth).map((value) => ({ case: f.localName, value })));
      fields[member.localName] = fc.oneof(fc.constant({ case: undefined }), ...cases);
    } else {
      fields[member.localName] = field(member, depth);
    }
  }
  return fc
    .record(fields, { requiredKeys: [] })
    .map((init) =>
      create(
        desc,
        Object.fromEntries(Object.entries(init).filter(([, v]) => v !== undefined)) as MessageInitShape<DescMessage>,
      ),
    );
}

function field(f: DescField, depth: number): fc.Arbitrary<unknown> {
  switch (f.fieldKind) {
    case "list":
      return fc.array(element(f, depth), { maxLength: 4 });
    case "map":
      return fc.dictionary(text, element(f, depth), { maxKeys: 4, noNullPrototype: true });
    default:
      return one(f, depth);
  }
}

function one(f: DescField, depth: number): fc.Arbitrary<unknown> {
  switch (f.fieldKind) {
    case "message":
      return anyMessage(f.message, depth + 1);
    case "enum":
      return enumNumber;
    case "scalar":
      return scalar(f.scalar);
    default:
      throw new Error(`${f.name} is a ${f.fieldKind}`);
  }
}

function element(f: DescField & { fieldKind: "list" | "map" }, depth: number): fc.Arbitrary<unknown> {
  const kind = f.fieldKind === "list" ? f.listKind : f.mapKind;
  if (kind === "message" && f.message !== undefined) return anyMessage(f.message, depth + 1);
  if (kind === "enum") return enumNumber;
  return f.scalar === undefined ? fc.constant(undefined) : scalar(f.scalar);
}

const enumNumber = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }));

/** Well-formed text: half a surrogate pair cannot be sent. */
const text = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("", "job", "queue", "safety", "GPU-a", "known", "lease-x", "mine") },
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.string({ unit: "binary-ascii", maxLength: 20 }),
  fc.constantFrom("x".repeat(129), "€".repeat(100), "\0", "a\nb", "\u2028", "__proto__", "../../etc", "constructor"),
);

function scalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 16 });
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return fc.oneof(fc.double(), fc.constantFrom(Number.NaN, Infinity, -Infinity, -0));
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return fc.oneof(fc.integer({ min: 0, max: 30_000 }), fc.nat({ max: 0xffff_ffff }), fc.constant(0xffff_ffff));
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return fc.oneof(fc.integer({ min: -2, max: 10 }), fc.integer(), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1));
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return fc.oneof(fc.bigInt({ min: 0n, max: 3n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
    default:
      return fc.oneof(fc.bigInt({ min: -2n, max: 400n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
  }
}
