import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

/** Finds files by what they declare, and answers them with all that they import, as serialized FileDescriptorProtos. */
export interface ReflectionIndex {
  /** Full names of the services, sorted. */
  readonly services: readonly string[];
  fileByName(name: string): Uint8Array[] | undefined;
  /** @param symbol full name of a message, field, oneof, enum, enum value, extension, service or method. */
  fileBySymbol(symbol: string): Uint8Array[] | undefined;
  fileByExtension(message: string, number: number): Uint8Array[] | undefined;
  /** Numbers of the extensions of a message; undefined when there is no such message. */
  extensionNumbers(message: string): number[] | undefined;
}

/** Indexes the files of `services` and everything that they import. */
export function createReflectionIndex(services: readonly DescService[]): ReflectionIndex {
  const files = new Map<string, DescFile>();
  const symbols = new Map<string, DescFile>();
  const extensions = new Map<string, Map<number, DescFile>>();
  const bytes = new Map<DescFile, Uint8Array>();

  const add = (file: DescFile): void => {
    if (files.has(file.proto.name)) return;
    files.set(file.proto.name, file);
    bytes.set(file, toBinary(FileDescriptorProtoSchema, file.proto));
    for (const symbol of symbolsOf(file.proto)) symbols.set(symbol, file);
    for (const desc of nestedTypes(file)) {
      if (desc.kind === "message" && !extensions.has(desc.typeName)) extensions.set(desc.typeName, new Map());
      if (desc.kind === "extension") {
        const numbers = extensions.get(desc.extendee.typeName) ?? new Map<number, DescFile>();
        extensions.set(desc.extendee.typeName, numbers.set(desc.number, file));
      }
    }
    for (const dependency of file.dependencies) add(dependency);
  };
  for (const service of services) add(service.file);

  const answer = (file: DescFile | undefined): Uint8Array[] | undefined => {
    if (file === undefined) return undefined;
    const found = new Set([file]);
    // A set that grows while it is walked is walked to its end, so this takes in imports of imports.
    for (const one of found) for (const dependency of one.dependencies) found.add(dependency);
    return [...found].flatMap((one) => bytes.get(one) ?? []);
  };

  return {
    services: services.map((service) => service.typeName).sort(),
    fileByName: (name) => answer(files.get(name)),
    fileBySymbol: (symbol) => answer(symbols.get(symbol.replace(/^\./, ""))),
    fileByExtension: (message, number) => answer(extensions.get(message)?.get(number)),
    extensionNumbers(message) {
      const numbers = extensions.get(message);
      return numbers && [...numbers.keys()];
    },
  };
}

/** Every name that a file declares, as protobuf scopes it. Taken from what is served, which also has the entries of maps. */
function* symbolsOf(file: FileDescriptorProto): Generator<string> {
  const scope = file.package === "" ? "" : `${file.package}.`;
  for (const service of file.service) {
    yield scope + service.name;
    for (const method of service.method) yield `${scope}${service.name}.${method.name}`;
  }
  yield* declarationsIn(scope, file.messageType, file.enumType, file.extension);
}

function* declarationsIn(
  scope: string,
  messages: readonly DescriptorProto[],
  enums: readonly EnumDescriptorProto[],
  extensions: readonly FieldDescriptorProto[],
): Generator<string> {
  for (const extension of extensions) yield scope + extension.name;
  for (const one of enums) {
    yield scope + one.name;
    // The values of an enum are its siblings, not its children.
    for (const value of one.value) yield scope + value.name;
  }
  for (const message of messages) {
    const inside = `${scope}${message.name}.`;
    yield scope + message.name;
    for (const field of message.field) yield inside + field.name;
    for (const oneof of message.oneofDecl) yield inside + oneof.name;
    yield* declarationsIn(inside, message.nestedType, message.enumType, message.extension);
  }
}
