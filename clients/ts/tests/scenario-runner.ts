import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { Message } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { type Client, connect, type Lease } from "sluice/client";
import {
  failureOf,
  type Json,
  type JsonMap,
  Mismatch,
  match,
  matches,
  messageJson,
  methodOf,
  patienceMs,
  requestOf,
  resolve,
  resourcesOptions,
  short,
  waitingJson,
} from "./scenario-words.ts";

// Plays one scenario of test/clients/scenarios.yaml with sluice/client. test/clients/README.md says what the words mean.

/** The doors of this runner: which of the driver's doors stands for which. Over the web nothing else is there. */
const doorNames: Readonly<Record<string, string>> = process.argv.includes("--web") ? { grpc: "web", line: "web-line" } : {};

type Step = Readonly<Record<string, Json>>;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Answers what came in time. */
async function inTime<T>(promise: Promise<T>, withinMs: number, why: string): Promise<T> {
  const over = new AbortController();
  const late = delay(Math.max(0, withinMs), undefined, { signal: over.signal, ref: true }).then(() => {
    throw new Mismatch(why);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    over.abort();
  }
}

/** A server stream that is read only when a step asks for it, so that back-pressure is real. */
class Stream {
  readonly #messages: AsyncIterator<Message>;
  readonly #call = new AbortController();
  #pending: Promise<IteratorResult<Message>> | undefined;

  constructor(open: (options: CallOptions) => AsyncIterable<Message>, deadlineMs: number | undefined) {
    const timeout = deadlineMs === undefined ? {} : { timeoutMs: deadlineMs };
    this.#messages = open({ signal: this.#call.signal, ...timeout })[Symbol.asyncIterator]();
  }

  /** The next message, undefined at the end. */
  async read(withinMs: number): Promise<Message | undefined> {
    this.#pending ??= this.#messages.next();
    this.#pending.catch(() => {});
    const next = await inTime(this.#pending, withinMs, "nothing came in time").catch((error) => {
      if (!(error instanceof Mismatch)) this.#pending = undefined;
      throw error;
    });
    this.#pending = undefined;
    return next.done ? undefined : next.value;
  }

  cancel(): void {
    this.#call.abort();
  }
}

/** Resources that are held through the hand-written layer, and what it told about them. */
class Hold {
  lease: Lease | undefined;
  readonly #told: { readonly event: string; readonly news: JsonMap }[] = [];
  #wake: () => void = () => {};

  async enter(client: Client, fields: JsonMap): Promise<JsonMap> {
    this.lease = await client.resources({
      ...resourcesOptions(fields),
      setEnvironment: true,
      onProgress: (waiting) => this.#hear("waiting", waitingJson(waiting)),
      onLost: (_, why) => this.#hear("lost", { why }),
      ...(fields.evictable ? { onEviction: (_, { reason }) => this.#hear("eviction_requested", { reason }) } : {}),
    });
    return messageJson(this.lease.message);
  }

  /** The next news of that kind; others are passed over. */
  async told(wanted: string, withinMs: number): Promise<JsonMap> {
    const end = performance.now() + withinMs;
    for (;;) {
      for (let one = this.#told.shift(); one !== undefined; one = this.#told.shift()) if (one.event === wanted) return one.news;
      const heard = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await inTime(heard, end - performance.now(), `${wanted} was not told in time`);
    }
  }

  #hear(event: string, news: JsonMap): void {
    this.#told.push({ event, news });
    this.#wake();
  }
}

/** The world of one scenario. */
class Player {
  readonly #saved = new Map<string, Json>();
  readonly #clients = new Map<string, Client>();
  readonly #streams = new Map<string, Stream>();
  readonly #holds = new Map<string, Hold>();
  readonly #background = new Map<string, Promise<JsonMap>>();
  readonly #marks = new Map<string, number>();

  constructor(clients: Json, doors: JsonMap) {
    this.#saved.set("runner", { pid: process.pid }).set("doors", doors);
    for (const [name, how] of Object.entries((clients ?? { main: {} }) as Record<string, JsonMap>)) {
      const door = String(how.door ?? "grpc");
      const keepaliveMs = how.keepalive_ms as number | undefined;
      this.#clients.set(name, connect(String(doors[doorNames[door] ?? door]), { keepaliveMs, warn: () => {} }));
    }
  }

  async play(steps: readonly Step[], path = ""): Promise<void> {
    for (const [index, raw] of steps.entries()) {
      const where = `${path}${index + 1}`;
      const word = Object.keys(raw)[0] as keyof typeof this.deeds;
      if ("repeat" in raw) {
        for (let turn = 0; turn < Number(raw.repeat); turn += 1) await this.play(raw.steps as Step[], `${where}[${turn}].`);
        continue;
      }
      try {
        await this.deeds[word](resolve(raw, this.#saved) as Step);
      } catch (error) {
        if (error instanceof Mismatch) throw new Mismatch(`step ${where} (${word} ${short(raw[word])}): ${error.message}`);
        throw error;
      }
    }
  }

  readonly deeds = {
    call: async (step: Step) => {
      const act = () => this.#call(step);
      const start = performance.now();
      const { for_ms: forMs = 0, until_ms: untilMs } = step as { for_ms?: number; until_ms?: number };
      while (performance.now() - start < forMs) {
        await this.#judge(step, act);
        await delay(50);
      }
      while (untilMs !== undefined) {
        try {
          return await this.#judge(step, act);
        } catch (error) {
          if (!(error instanceof Mismatch) || performance.now() - start > untilMs) throw error;
          await delay(50);
        }
      }
      await this.#startOrJudge(step, act);
    },

    await: async (step: Step) => {
      const task = this.#background.get(String(step.await));
      if (task === undefined) throw new Mismatch(`nothing called ${step.await} is under way`);
      await this.#judge(step, () => inTime(task, withinOf(step), "it is not over in time"));
    },

    open: async (step: Step) => {
      const { service, method } = methodOf(String(step.open));
      const client = this.#rpcs(step, service.name);
      const request = requestOf(method, step.with);
      const open = (options: CallOptions) => client[method.localName]?.(request, options) as AsyncIterable<Message>;
      this.#streams.set(String(step.as), new Stream(open, step.deadline_ms as number | undefined));
    },

    next: (step: Step) => this.#until(step, String(step.next), 1),

    until: (step: Step) => this.#until(step, String(step.until), Number(step.at_most ?? Number.MAX_SAFE_INTEGER)),

    ends: (step: Step) =>
      this.#judge(step, async () => {
        const message = await this.#stream(String(step.ends)).read(withinOf(step));
        if (message !== undefined) throw new Mismatch(`wanted the end of the stream, got ${short(messageJson(message))}`);
        return {};
      }),

    cancel: async (step: Step) => this.#stream(String(step.cancel)).cancel(),

    drop: async (step: Step) => this.#clients.get(String(step.drop))?.close(),

    driver: async (step: Step) => {
      const deed = step.driver as string | JsonMap;
      const [word, argument] = typeof deed === "string" ? [deed, null] : (Object.entries(deed)[0] ?? []);
      say({ driver: word, argument });
      const answer = JSON.parse((await lines.next()).value ?? "{}") as { ok?: boolean; why?: string };
      if (!answer.ok) throw new Mismatch(`the driver could not ${word}: ${answer.why}`);
    },

    hold: async (step: Step) => {
      const hold = new Hold();
      this.#holds.set(String(step.as), hold);
      await this.#startOrJudge(step, () => hold.enter(this.#client(step), step.hold as JsonMap));
    },

    told: async (step: Step) => {
      const news = await this.#hold(String(step.told)).told(String(step.event), withinOf(step));
      match(step.expect ?? {}, news, "news");
      this.#save(step, news);
    },

    environment: async (step: Step) => {
      match(step.expect, { ...process.env }, "environment");
    },

    release: async (step: Step) => this.#hold(String(step.release)).lease?.release(),

    run: async (step: Step) => {
      const { plugin, arguments: args, ...options } = step.run as JsonMap;
      const events: string[] = [];
      await this.#startOrJudge(step, async () => {
        const onEvent = ({ event }: { readonly event: { readonly case: string | undefined } }) =>
          void events.push(event.case ?? "");
        const result = await this.#client(step).execute(String(plugin), (args ?? {}) as never, { ...options, onEvent });
        return { result: result as Json, events };
      });
    },

    mark: async (step: Step) => void this.#marks.set(String(step.mark), performance.now()),

    elapsed: async (step: Step) => match(step.expect, performance.now() - (this.#marks.get(String(step.elapsed)) ?? 0), "ms"),

    check: async (step: Step) => match(step.expect, step.check, "value"),
  };

  async #call(step: Step): Promise<JsonMap> {
    const { service, method } = methodOf(String(step.call));
    const request = requestOf(method, step.with);
    const timeoutMs = Number(step.deadline_ms ?? patienceMs);
    return messageJson((await this.#rpcs(step, service.name)[method.localName]?.(request, { timeoutMs })) as Message);
  }

  async #until(step: Step, name: string, atMost: number): Promise<void> {
    const end = performance.now() + withinOf(step);
    let last: Json;
    for (let read = 0; read < atMost; read += 1) {
      const message = await this.#stream(name)
        .read(end - performance.now())
        .catch((error: unknown) => {
          const why = error instanceof Mismatch ? error.message : `the stream failed: ${short(failureOf(error))}`;
          throw new Mismatch(`${why}; the last message was ${short(last)}`);
        });
      if (message === undefined) throw new Mismatch(`the stream ended; the last message was ${short(last)}`);
      last = messageJson(message);
      if (matches(step.expect, last)) return this.#save(step, last);
    }
    match(step.expect, last, "message");
  }

  /** Acts, and compares what came of it with expect or error. */
  async #judge(step: Step, act: () => Promise<JsonMap>): Promise<void> {
    let answer: JsonMap;
    let part = "expect";
    try {
      answer = await act();
    } catch (error) {
      answer = failureOf(error);
      part = "error";
    }
    if (part === "expect" && "error" in step) throw new Mismatch(`wanted an error, got ${short(answer)}`);
    if (part === "error" && !("error" in step)) throw new Mismatch(`failed: ${short(answer)}`);
    match(step[part] ?? {}, answer, part === "error" ? "error" : "answer");
    this.#save(step, answer);
  }

  async #startOrJudge(step: Step, act: () => Promise<JsonMap>): Promise<void> {
    if (step.in_background === undefined) return this.#judge(step, act);
    const task = act();
    task.catch(() => {});
    this.#background.set(String(step.in_background), task);
  }

  #save(step: Step, answer: Json): void {
    const name = step.save ?? step.as;
    if (name !== undefined) this.#saved.set(String(name), answer);
  }

  #client(step: Step): Client {
    const [first] = this.#clients.keys();
    const client = this.#clients.get(String(step.client ?? first));
    if (client === undefined) throw new Mismatch(`there is no client ${step.client}`);
    return client;
  }

  #rpcs(step: Step, service: string): Rpcs {
    const { scheduler, executor, monitor } = this.#client(step);
    const all = { SchedulerService: scheduler, ExecutorService: executor, MonitorService: monitor };
    return all[service as keyof typeof all] as unknown as Rpcs;
  }

  #stream(name: string): Stream {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new Mismatch(`there is no stream ${name}`);
    return stream;
  }

  #hold(name: string): Hold {
    const hold = this.#holds.get(name);
    if (hold === undefined) throw new Mismatch(`nothing is held as ${name}`);
    return hold;
  }
}

type Rpcs = Readonly<Record<string, (request: Message, options: CallOptions) => Promise<Message> | AsyncIterable<Message>>>;

function withinOf(step: Step): number {
  return Number(step.within_ms ?? patienceMs);
}

/** One line to the driver. */
function say(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const { scenario, doors } = JSON.parse((await lines.next()).value ?? "") as { scenario: JsonMap; doors: JsonMap };
try {
  await new Player(scenario.clients, doors).play(scenario.steps as unknown as Step[]);
  say({ passed: true });
} catch (error) {
  say({ passed: false, why: error instanceof Mismatch ? error.message : String((error as Error).stack) });
}
// Streams that are still open end with the process, once the verdict is written.
process.stdout.write("", () => process.exit(0));
