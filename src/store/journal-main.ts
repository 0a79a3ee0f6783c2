import { parentPort, workerData } from "node:worker_threads";
import type { JournalAnswer, JournalRequest, JournalThreadData } from "./journal-messages.ts";
import { problemOf } from "./problem.ts";
import { StateFile } from "./state-file.ts";

// The thread that has the state file. A disk that is slow, or hangs, holds up this thread and nothing else of the server.

const port = parentPort;
if (port === null) throw new Error("this is the journal's thread; it is not to be run by itself");
const { path, boot } = workerData as JournalThreadData;
const answer = (message: JournalAnswer) => port.postMessage(message);

try {
  const file = new StateFile(path);
  port.on("message", (request: JournalRequest) => {
    try {
      if (request.type === "apply") file.apply(request.batch);
      else if (request.type === "replace") file.replace(request.all, request.batch);
      else file.close();
      answer({ ok: true });
      if (request.type === "close") port.close();
    } catch (error) {
      answer({ ok: false, problem: problemOf(error, path) });
    }
  });
  const stored = file.load();
  file.setBoot(boot);
  answer({ ok: true, stored });
} catch (error) {
  answer({ ok: false, problem: problemOf(error, path) });
  port.close();
}
