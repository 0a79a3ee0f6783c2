import { accessSync, constants, statSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";

/**
 * The first executable file of that name in the folders of `path`; undefined when there is none. Folders that are not absolute
 * are left out: what is started must not depend on the folder that the server happens to run in.
 * @param name a bare file name, such as nvidia-smi.
 * @param path as in the environment variable PATH.
 */
export function findOnPath(name: string, path: string | undefined = process.env.PATH): string | undefined {
  if (name === "" || /[/\\\0]/.test(name)) return undefined;
  const names = process.platform === "win32" ? [name, `${name}.exe`] : [name];
  for (const folder of (path ?? "").split(delimiter)) {
    if (!isAbsolute(folder)) continue;
    const found = names.map((n) => join(folder, n)).find(isExecutableFile);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether there is a file at `file` that this process may execute. */
export function isExecutableFile(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
