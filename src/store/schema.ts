/** In the header of every state file, so that another program's database is not taken for one. The letters "slui". */
export const applicationId = 0x736c7569;

/**
 * The steps from an empty file to the present form, each run once and never changed: files that were written by a released version
 * are out there. PRAGMA user_version counts how many of them a file has had. A memo is what engine/saves.ts says, as JSON; when its
 * form changes so that an old one cannot be read as a new one, a step here rewrites them.
 */
export const migrations: readonly string[] = [
  `CREATE TABLE lease (id TEXT PRIMARY KEY, memo TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE ticket (id TEXT PRIMARY KEY, memo TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE learned (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;`,
];
