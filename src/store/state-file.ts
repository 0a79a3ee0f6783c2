import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import Database from "libsql";
import type { LeaseMemo, TicketMemo } from "../engine/saves.ts";
import { StateFileError } from "./problem.ts";
import { applicationId, migrations } from "./schema.ts";
import type { Change, Everything } from "./store.ts";

/** How long another program may have the file before it counts as in use: a server that is just ending needs a moment. */
const busyMs = 2_000;

/** What goes to the disk in one piece. */
export interface Batch {
  readonly changes: readonly Change[];
  readonly learned: readonly (readonly [string, string])[];
  /** No token from here on has been given out. */
  readonly tokenLimit?: number;
}

export interface StoredState extends Everything {
  readonly learned: readonly (readonly [string, unknown])[];
  /** 0: none was ever given out. */
  readonly tokenLimit: number;
  /** The boot of the machine that it is of; empty: not known. */
  readonly boot: string;
}

type Statement = Database.Statement<unknown[]>;

/**
 * The state on the disk: an SQLite file with a write-ahead log, one that nobody else may have open. Every call returns when what it
 * wrote is on the disk (`synchronous = FULL`), and throws when it is not; then nothing of it is.
 */
export class StateFile {
  readonly #path: string;
  readonly #db: Database.Database;
  readonly #inode: number;
  readonly #putLease: Statement;
  readonly #dropLease: Statement;
  readonly #putTicket: Statement;
  readonly #dropTicket: Statement;
  readonly #putLearned: Statement;
  readonly #putMeta: Statement;

  /** Opens the file, or makes it. @throws when it is no state file, damaged, newer than this program, or in use. */
  constructor(path: string) {
    this.#path = path;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#db = new Database(path);
    try {
      this.#prepareFile();
      this.#inode = statSync(path).ino;
      this.#putLease = this.#db.prepare("INSERT INTO lease VALUES (?, ?) ON CONFLICT DO UPDATE SET memo = excluded.memo");
      this.#dropLease = this.#db.prepare("DELETE FROM lease WHERE id = ?");
      this.#putTicket = this.#db.prepare("INSERT INTO ticket VALUES (?, ?) ON CONFLICT DO UPDATE SET memo = excluded.memo");
      this.#dropTicket = this.#db.prepare("DELETE FROM ticket WHERE id = ?");
      this.#putLearned = this.#db.prepare("INSERT INTO learned VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value");
      this.#putMeta = this.#db.prepare("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value");
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** All that is there. @throws StateFileError when part of it cannot be read. */
  load(): StoredState {
    return {
      leases: this.#memos<LeaseMemo>("lease"),
      tickets: this.#memos<TicketMemo>("ticket"),
      learned: this.#rows<{ key: string; value: string }>("SELECT key, value FROM learned").map(
        ({ key, value }) => [key, this.#parsed(value)] as const,
      ),
      tokenLimit: Number(this.#meta("token_limit") ?? 0),
      boot: String(this.#meta("boot") ?? ""),
    };
  }

  /** From now on the state is of this boot of the machine. */
  setBoot(boot: string): void {
    this.#inOne(() => this.#putMeta.run("boot", boot));
  }

  apply(batch: Batch): void {
    this.#inOne(() => {
      for (const { leases, tickets } of batch.changes) {
        for (const { id, memo } of leases) this.#save(this.#putLease, this.#dropLease, id, memo);
        for (const { id, memo } of tickets) this.#save(this.#putTicket, this.#dropTicket, id, memo);
      }
      this.#rest(batch);
    });
  }

  /** Puts `all` into the place of every lease and ticket that is there, and then the batch. */
  replace(all: Everything, batch: Batch): void {
    this.#inOne(() => {
      this.#db.exec("DELETE FROM lease; DELETE FROM ticket");
      for (const memo of all.leases) this.#putLease.run(memo.id, JSON.stringify(memo));
      for (const memo of all.tickets) this.#putTicket.run(memo.id, JSON.stringify(memo));
      this.#rest(batch);
    });
  }

  /**
   * Leaves one file without a log beside it. The library gives up its connection only when that is collected; leaving the log and
   * the exclusive mode gives up the lock at once.
   */
  close(): void {
    try {
      this.#db.pragma("journal_mode = DELETE");
      this.#db.pragma("locking_mode = NORMAL");
      this.#rows("SELECT 1 FROM sqlite_schema");
    } catch {
      // What is on the disk is whole with the log too.
    }
    this.#db.close();
  }

  #prepareFile(): void {
    const db = this.#db;
    db.exec(`PRAGMA busy_timeout = ${busyMs}`);
    // One server, one file: the lock is held until this process ends, however it ends.
    db.pragma("locking_mode = EXCLUSIVE");
    const [{ application_id: id }] = db.pragma("application_id") as [{ application_id: number }];
    const [{ user_version: version }] = db.pragma("user_version") as [{ user_version: number }];
    const isEmpty = this.#rows("SELECT 1 FROM sqlite_schema LIMIT 1").length === 0;
    if (!isEmpty && id !== applicationId) {
      throw new StateFileError(`${this.#path} is another program's database`, "choose another folder with --state");
    }
    if (version > migrations.length) {
      throw new StateFileError(
        `${this.#path} was written by a newer sluice (form ${version}; this one knows ${migrations.length})`,
        "start that version, or move the file away to start without what was promised before",
      );
    }
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    // A write that changes nothing takes the lock all the same.
    db.exec("BEGIN IMMEDIATE; COMMIT");
    const [{ quick_check: check }] = db.pragma("quick_check(1)") as [{ quick_check: string }];
    if (check !== "ok") throw Object.assign(new Error(check), { code: "SQLITE_CORRUPT" });
    for (const [i, sql] of migrations.entries()) {
      if (i < version) continue;
      db.exec(`BEGIN IMMEDIATE; ${sql} PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${i + 1}; COMMIT`);
    }
  }

  #inOne(write: () => void): void {
    this.#mustBeThere();
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      write();
      this.#db.exec("COMMIT");
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  /** What is written to a file that somebody has removed is gone with this process, and nothing else would say so. */
  #mustBeThere(): void {
    if (statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode) return;
    throw new StateFileError(`${this.#path} was removed or replaced`, "it is made anew, with all that is promised now");
  }

  #save(put: Statement, drop: Statement, id: string, memo: unknown): void {
    if (memo === undefined) drop.run(id);
    else put.run(id, JSON.stringify(memo));
  }

  #rest({ learned, tokenLimit }: Batch): void {
    for (const [key, value] of learned) this.#putLearned.run(key, value);
    if (tokenLimit !== undefined) this.#putMeta.run("token_limit", tokenLimit);
  }

  #meta(key: string): unknown {
    return this.#rows<{ value: unknown }>("SELECT value FROM meta WHERE key = ?", key)[0]?.value;
  }

  #memos<Memo>(table: "lease" | "ticket"): readonly Memo[] {
    return this.#rows<{ memo: string }>(`SELECT memo FROM ${table}`).map(({ memo }) => this.#parsed(memo) as Memo);
  }

  #rows<Row>(sql: string, ...values: unknown[]): readonly Row[] {
    return this.#db.prepare(sql).all(...values) as Row[];
  }

  #parsed(json: string): unknown {
    try {
      return JSON.parse(json);
    } catch (cause) {
      throw Object.assign(new Error("a row in it is no JSON", { cause }), { code: "SQLITE_CORRUPT" });
    }
  }
}
