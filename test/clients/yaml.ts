/**
 * Reads the part of YAML that scenarios.yaml is written in, so that no library is needed for one file: block maps and lists, flow
 * maps and lists (also over several lines), plain, 'single' and "double" quoted text on one line, numbers, true, false, null,
 * comments. No anchors, tags, folded text or documents. Anything else is an error that names its line.
 */
export function readYaml(text: string): unknown {
  const lines = logicalLines(text);
  const reader = new BlockReader(lines);
  return reader.readAll();
}

interface Line {
  readonly number: number;
  readonly indent: number;
  readonly text: string;
}

function fail(line: number, why: string): never {
  throw new Error(`line ${line}: ${why}`);
}

/** Lines without comments and empty ones; a flow value that goes on over several lines is one line. */
function logicalLines(text: string): Line[] {
  const lines: Line[] = [];
  let open: { number: number; indent: number; text: string; depth: number } | undefined;
  for (const [index, raw] of text.split("\n").entries()) {
    const { kept, depth } = scan(raw, index + 1);
    if (kept.trim() === "") continue;
    const line = open ?? { number: index + 1, indent: kept.length - kept.trimStart().length, text: "", depth: 0 };
    line.text += (line.text === "" ? "" : " ") + kept.trim();
    line.depth += depth;
    if (line.depth > 0) open = line;
    else {
      lines.push(line);
      open = undefined;
    }
  }
  if (open !== undefined) fail(open.number, "a bracket is not closed");
  return lines;
}

/** What is left of a line without its comment, and by how many brackets it opens more than it closes. */
function scan(raw: string, number: number): { kept: string; depth: number } {
  if (raw.includes("\t")) fail(number, "tabs are not allowed");
  let quote = "";
  let depth = 0;
  for (let at = 0; at < raw.length; at += 1) {
    const char = raw[at] ?? "";
    if (quote !== "") {
      if (char === "\\" && quote === '"') at += 1;
      else if (char === quote) quote = "";
    } else if ((char === '"' || char === "'") && /(^|[\s,:[{])$/.test(raw.slice(0, at))) quote = char;
    else if (char === "#" && /(^|\s)$/.test(raw.slice(0, at))) return { kept: raw.slice(0, at).trimEnd(), depth };
    else if (char === "{" || char === "[") depth += 1;
    else if (char === "}" || char === "]") depth -= 1;
  }
  if (quote !== "") fail(number, "a quote is not closed");
  return { kept: raw.trimEnd(), depth };
}

const mapEntry = /^("(?:[^"\\]|\\.)*"|[^\s"'{}[\],#-][^:{}[\],]*|-[^\s:][^:{}[\],]*):(?:\s+(.*))?$/;

class BlockReader {
  readonly #lines: Line[];
  #at = 0;

  constructor(lines: Line[]) {
    this.#lines = lines;
  }

  readAll(): unknown {
    const value = this.#block(0);
    const left = this.#lines[this.#at];
    if (left !== undefined) fail(left.number, "this does not belong to anything above it");
    return value;
  }

  #block(indent: number): unknown {
    const line = this.#lines[this.#at];
    if (line === undefined || line.indent < indent) return null;
    if (line.text.startsWith("{") || line.text.startsWith("[")) {
      this.#at += 1;
      return readInline(line.text, line.number);
    }
    return line.text.startsWith("- ") || line.text === "-" ? this.#list(line.indent) : this.#map(line.indent);
  }

  #list(indent: number): unknown[] {
    const items: unknown[] = [];
    for (let line = this.#lines[this.#at]; line?.indent === indent; line = this.#lines[this.#at]) {
      if (!line.text.startsWith("-")) break;
      const rest = line.text.slice(1).trim();
      if (rest === "") {
        this.#at += 1;
        items.push(this.#block(indent + 1));
      } else if (mapEntry.test(rest) || rest.startsWith("- ")) {
        // A map or a list begins behind the dash: read it as if it stood on a line of its own.
        const inner = indent + line.text.length - rest.length;
        this.#lines[this.#at] = { number: line.number, indent: inner, text: rest };
        items.push(this.#block(inner));
      } else {
        this.#at += 1;
        items.push(readInline(rest, line.number));
      }
    }
    return items;
  }

  #map(indent: number): Record<string, unknown> {
    const map: Record<string, unknown> = {};
    for (let line = this.#lines[this.#at]; line?.indent === indent; line = this.#lines[this.#at]) {
      const match = mapEntry.exec(line.text);
      if (match === null) fail(line.number, `not "key: value": ${line.text}`);
      const key = String(readInline(match[1] ?? "", line.number, "text"));
      if (key in map) fail(line.number, `"${key}" is there twice`);
      this.#at += 1;
      map[key] = match[2] === undefined ? this.#below(indent) : readInline(match[2], line.number);
    }
    return map;
  }

  /** What stands below a key; a list may begin in the key's own column. */
  #below(indent: number): unknown {
    const next = this.#lines[this.#at];
    const isList = next?.indent === indent && next.text.startsWith("- ");
    return this.#block(isList ? indent : indent + 1);
  }
}

/** A value on one line. @param as "text": a plain word stays text, whatever it looks like. */
function readInline(text: string, line: number, as: "value" | "text" = "value"): unknown {
  let at = 0;
  const skip = () => {
    while (text[at] === " ") at += 1;
  };
  function take(closing: string): boolean {
    skip();
    if (text[at] !== closing) return false;
    at += 1;
    return true;
  }
  function scalar(stop: RegExp): unknown {
    const quote = text[at];
    if (quote === '"' || quote === "'") {
      const pattern = quote === '"' ? /"(?:[^"\\]|\\.)*"/y : /'(?:[^']|'')*'/y;
      pattern.lastIndex = at;
      const found = pattern.exec(text)?.[0] ?? fail(line, "a quote is not closed");
      at += found.length;
      return quote === '"' ? JSON.parse(found) : found.slice(1, -1).replaceAll("''", "'");
    }
    const rest = text.slice(at);
    const end = rest.search(stop);
    const word = (end < 0 ? rest : rest.slice(0, end)).trim();
    at += end < 0 ? rest.length : end;
    return as === "text" ? word : plain(word);
  }
  function value(): unknown {
    skip();
    if (take("{")) {
      const map: Record<string, unknown> = {};
      while (!take("}")) {
        skip();
        const key = String(scalar(/:(\s|$)|[,{}[\]]/));
        if (!take(":")) fail(line, `"${key}" has no value`);
        map[key] = value();
        if (!take(",") && text[at] !== "}") fail(line, `expected , or } after "${key}"`);
      }
      return map;
    }
    if (take("[")) {
      const list: unknown[] = [];
      while (!take("]")) {
        list.push(value());
        if (!take(",") && text[at] !== "]") fail(line, "expected , or ]");
      }
      return list;
    }
    return scalar(/[,}\]]/);
  }
  skip();
  const isFlow = text[at] === "{" || text[at] === "[";
  const read = isFlow ? value() : scalar(/$/);
  skip();
  if (at < text.length) fail(line, `cannot be read from here: ${text.slice(at)}`);
  return read;
}

function plain(word: string): unknown {
  if (word === "" || word === "null" || word === "~") return null;
  if (word === "true" || word === "false") return word === "true";
  return /^-?(0|[1-9]\d*)(\.\d+)?$/.test(word) ? Number(word) : word;
}
