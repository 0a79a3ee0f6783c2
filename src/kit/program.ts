import type { WorkerContext } from "./context.ts";

/** A plugin that stays: sluice calls `initialize` once and then `execute`, up to `maxConcurrency` calls at the same time. */
export interface WorkerProgram {
  /** Loads the model. Call `ctx.progress()` now and then: a start that shows no progress for long counts as failed. */
  initialize?(ctx: WorkerContext): void | Promise<void>;
  /**
   * Answers one execution. The result must be JSON.
   * @param args as the caller gave them, checked against the manifest's schema.
   * @throws anything: it fails this execution only. `OutOfMemory`, `InvalidArguments` and `Fatal` say more.
   */
  execute(args: unknown, ctx: WorkerContext): unknown;
  /** Gives memory back but lives on; the next `execute` loads the model again. Called only while nothing runs. */
  release?(): void | Promise<void>;
  /** Last words, such as closing files; a second at most when the server is gone, a few seconds else. */
  shutdown?(): void | Promise<void>;
}
