import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { JournalAnswer, JournalRequest, JournalThreadData } from "./journal-messages.ts";
import type { Problem } from "./problem.ts";

/** Who has the state file open: asked one thing at a time. */
export interface JournalThread {
  /** Never rejects: a thread that ends is a problem too. */
  ask(request: JournalRequest): Promise<JournalAnswer>;
  /** Ends it whatever it is at. */
  kill(): void;
}

/** Starts the thread. @returns it, and its first answer. */
export async function startJournalThread(data: JournalThreadData): Promise<[JournalThread, JournalAnswer]> {
  const worker = new Worker(entry(), { workerData: data });
  let settle: ((answer: JournalAnswer) => void) | undefined;
  let ended: Problem | undefined;
  const end = (what: string) => {
    ended ??= { what, todo: "it is started again every few seconds" };
    settle?.({ ok: false, problem: ended });
  };
  worker.on("message", (answer: JournalAnswer) => settle?.(answer));
  worker.on("error", (error) => end(`the thread that writes the state has failed (${error.message})`));
  worker.on("exit", () => end("the thread that writes the state has ended"));
  const next = () =>
    new Promise<JournalAnswer>((resolve) => {
      // Only while something is to be written does it keep the server from ending.
      worker.ref();
      settle = (answer) => {
        settle = undefined;
        worker.unref();
        resolve(answer);
      };
      if (ended !== undefined) settle({ ok: false, problem: ended });
    });
  const thread: JournalThread = {
    ask(request) {
      const answered = next();
      worker.postMessage(request);
      return answered;
    },
    kill: () => void worker.terminate(),
  };
  return [thread, await next()];
}

/** Under a test runner that reads the sources there is no built file beside this one. */
function entry(): URL {
  const beside = new URL("./journal-main.js", import.meta.url);
  return existsSync(beside) ? beside : new URL("../../dist/store/journal-main.js", import.meta.url);
}
