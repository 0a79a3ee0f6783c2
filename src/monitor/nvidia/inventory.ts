import type { Millis } from "../../engine/sample.ts";
import { type Column, coreQuery, type GpuRow, optionalColumns, parseGpuRows } from "./gpu-row.ts";
import { xmlMayTell } from "./judgement.ts";
import { type Listing, parseListing, type UnreadableGpu } from "./listing.ts";
import { type Answer, csvBytes, type OneShots, xmlBytes } from "./one-shot.ts";
import type { XmlLog } from "./query-xml.ts";
import { oneGpuIsUnreadable, sentenceOf, troubleOf } from "./trouble.ts";

/** A row that says which GPU it is about. */
export type IdentifiedRow = GpuRow & { readonly uuid: string; readonly index: number };

/** Which GPUs there are, as a fresh nvidia-smi sees them. */
export interface Inventory {
  readonly rows: readonly IdentifiedRow[];
  /** Who speaks when in a stream; undefined where words stand in place of the uuid. */
  readonly order: readonly (string | undefined)[];
  /** GPUs that could not be opened or identified; with one of them, every question must name the others by `indexes`. */
  readonly unreadable: readonly UnreadableGpu[];
  /** Present when questions must be limited to these GPUs. Indexes, because `-i <uuid>` opens all GPUs and fails with them. */
  readonly indexes?: readonly number[];
  /** Columns that this driver does not know. */
  readonly refused: ReadonlySet<Column>;
  /** `-q -x`, taken when CSV cannot tell the memory: MIG, and cards whose memory cells hold words. */
  readonly log?: XmlLog;
  readonly listing?: Listing;
  /** True when memory must be read from `-q -x` from now on. */
  readonly needsXml: boolean;
  readonly driverVersion?: string;
  /** Engine time before the first question whose figures are in here. */
  readonly observedAt: Millis;
}

export interface InventoryTools {
  readonly shots: OneShots;
  readonly path: string;
  readonly timeoutMs: number;
  now(): Millis;
}

/**
 * Asks which GPUs there are and how they are. Gives up columns that an old driver refuses; finds its way round a GPU that cannot
 * be opened. Answers a sentence when nothing can be known.
 */
export async function takeInventory(tools: InventoryTools): Promise<Inventory | string> {
  const refused = new Set<Column>();
  let answer = await ask(tools, coreArgs(refused));
  while (answer.kind === "ended" && answer.end.code === 2) {
    const column = refusedColumn(answer.text, refused);
    if (column === undefined) break;
    refused.add(column);
    answer = await ask(tools, coreArgs(refused));
  }
  if (!oneGpuIsUnreadable(answer)) return finish(tools, answer, refused, undefined);

  const listed = await ask(tools, ["-L"]);
  const listing = listed.kind === "ended" ? parseListing(listed.text) : { gpus: [], unreadable: [] };
  if (listing.gpus.length === 0) {
    if (listing.unreadable.length === 0)
      return troubleOf(listed, tools.path) ?? troubleOf(answer, tools.path) ?? unreadableAnswer(answer);
    return {
      rows: [],
      order: [],
      unreadable: listing.unreadable,
      indexes: [],
      refused,
      needsXml: false,
      observedAt: tools.now(),
    };
  }
  const indexes = listing.gpus.map((gpu) => gpu.index);
  return finish(tools, await ask(tools, [...coreArgs(refused), ...only(indexes)]), refused, { listing, indexes });
}

/** `-i 0,2,3`, or nothing when all GPUs can be asked. */
export function only(indexes: readonly number[] | undefined): string[] {
  return indexes ? ["-i", indexes.join(",")] : [];
}

async function finish(
  tools: InventoryTools,
  answer: Answer & { readonly askedAt: Millis },
  refused: ReadonlySet<Column>,
  limited: { readonly listing: Listing; readonly indexes: readonly number[] } | undefined,
): Promise<Inventory | string> {
  const trouble = troubleOf(answer, tools.path);
  if (trouble !== undefined) return trouble;
  const text = answer.kind === "ended" ? answer.text : "";
  const told = parseGpuRows(text, coreQuery(refused)).rows;
  if (told.length === 0) return unreadableAnswer(answer);
  const rows = told.filter(isIdentified);
  const nameless = told.flatMap((row, at): UnreadableGpu[] => {
    const word = row.words.uuid ?? row.words.index ?? "nothing";
    const sentence = `nvidia-smi prints [${word}] in place of its uuid`;
    return isIdentified(row) ? [] : [{ index: limited?.indexes[at] ?? at, sentence }];
  });
  const driverVersion = rows.find((row) => row.driverVersion !== undefined)?.driverVersion;
  const base: Inventory = {
    rows,
    order: told.map((row) => (isIdentified(row) ? row.uuid : undefined)),
    unreadable: [...(limited?.listing.unreadable ?? []), ...nameless],
    refused,
    needsXml: false,
    observedAt: answer.askedAt,
    ...(limited ? { indexes: limited.indexes } : {}),
    ...(driverVersion === undefined ? {} : { driverVersion }),
  };
  const mig = rows.some((row) => row.migCurrent === "Enabled");
  if (!mig && !rows.some((row) => xmlMayTell(row.words["memory.total"]))) return base;

  const xml = await ask(tools, ["-q", "-x", ...only(limited?.indexes)], xmlBytes);
  const { parseQueryXml } = await import("./query-xml.ts");
  const log = parseQueryXml(xml.kind === "ended" ? xml.text : "");
  if (mig && log.gpus.length === 0) {
    return troubleOf(xml, tools.path) ?? "nvidia-smi -q -x printed nothing readable, and MIG devices are only told there.";
  }
  let listing = limited?.listing;
  if (mig && !listing) {
    const listed = await ask(tools, ["-L"]);
    const listTrouble = troubleOf(listed, tools.path);
    if (listTrouble !== undefined && !oneGpuIsUnreadable(listed)) return listTrouble;
    listing = parseListing(listed.kind === "ended" ? listed.text : "");
  }
  const onlyXmlTells = rows.some(
    (row) =>
      xmlMayTell(row.words["memory.total"]) && log.gpus.some((gpu) => gpu.uuid === row.uuid && gpu.memory.freeMb !== undefined),
  );
  return { ...base, log, needsXml: mig || onlyXmlTells, ...(listing ? { listing } : {}) };
}

/** One answer, with the engine time before it was asked. */
async function ask(
  tools: InventoryTools,
  args: readonly string[],
  maxBytes = csvBytes,
): Promise<Answer & { readonly askedAt: Millis }> {
  const askedAt = tools.now();
  return { ...(await tools.shots.ask({ args, timeoutMs: tools.timeoutMs, maxBytes })), askedAt };
}

function coreArgs(refused: ReadonlySet<Column>): string[] {
  return [`--query-gpu=${coreQuery(refused).join(",")}`, "--format=csv,noheader,nounits"];
}

/** The column to give up: the one that the sentence names, or else the next in the order of their age. */
function refusedColumn(text: string, refused: ReadonlySet<Column>): Column | undefined {
  const left = optionalColumns.filter((column) => !refused.has(column));
  const named = /Field "([^"]{1,80})"/.exec(text)?.[1];
  return left.find((column) => column === named) ?? left[0];
}

function isIdentified(row: GpuRow): row is IdentifiedRow {
  return row.uuid !== undefined && row.index !== undefined;
}

function unreadableAnswer(answer: Answer): string {
  const said = answer.kind === "ended" ? sentenceOf(answer.text) : "";
  return `nvidia-smi printed ${said ? `"${said}" ` : "nothing "}where measurements were expected. Run it by hand, and check that it is NVIDIA's.`;
}
