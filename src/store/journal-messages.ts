import type { Problem } from "./problem.ts";
import type { Batch, StoredState } from "./state-file.ts";
import type { Everything } from "./store.ts";

/** What the thread that has the file is asked, one at a time; each is answered once. */
export type JournalRequest =
  | { readonly type: "apply"; readonly batch: Batch }
  | { readonly type: "replace"; readonly all: Everything; readonly batch: Batch }
  /** After its answer the thread ends. */
  | { readonly type: "close" };

/** The first answer, to being started at all, carries what is in the file. */
export type JournalAnswer =
  | { readonly ok: true; readonly stored?: StoredState }
  | { readonly ok: false; readonly problem: Problem };

export interface JournalThreadData {
  readonly path: string;
  /** The present boot of the machine; empty: not known. */
  readonly boot: string;
}
