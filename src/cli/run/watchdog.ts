import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * Reads lines from a pipe that this process holds the other end of: "watch PID START" names a process, "done" ends the
 * watch. When the pipe closes without "done", this process was killed, and the command would run on with nobody to renew its
 * lease. Then the command and everything it started is told to end, and killed 5 s later. A process counts as the same only
 * while its start time is the same, so that a pid that went to somebody else is left alone; where there is no /proc, the pid
 * alone has to do.
 */
const script = `
trap '' HUP INT QUIT TERM
pid= start=
while read -r word a b; do
  case $word in
    watch) pid=$a start=$b ;;
    done) exit 0 ;;
  esac
done
[ -n "$pid" ] || exit 0

started() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || { echo '?'; return; }
  set -- \${stat##*) }
  case $1 in Z|X) echo gone ;; *) shift 19; echo "$1" ;; esac
}

tree() {
  echo "$1:$(started "$1")"
  for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do tree "$child"; done
}

same() {
  [ "$(started "\${1%%:*}")" = "\${1#*:}" ] && kill -0 "\${1%%:*}" 2>/dev/null
}

same "$pid:$start" || exit 0
all=$(tree "$pid")
for one in $all; do same "$one" && kill -TERM "\${one%%:*}" 2>/dev/null; done
tenths=0
while [ $tenths -lt 50 ]; do
  alive=
  for one in $all; do same "$one" && alive="$alive $one"; done
  [ -n "$alive" ] || exit 0
  sleep 0.1 2>/dev/null || { sleep 1; tenths=$((tenths + 9)); }
  tenths=$((tenths + 1))
done
for one in $alive; do
  same "$one" || continue
  for part in $(tree "\${one%%:*}"); do same "$part" && kill -KILL "\${part%%:*}" 2>/dev/null; done
done
`;

/** Ends a command when this process is killed. */
export interface Watchdog {
  /** From now on this process is ended when we are killed. */
  watch(pid: number): void;
  /** The command has ended, or never began. */
  done(): void;
}

/** Starts a watchdog in a session of its own, so that what kills this process's group does not reach it. */
export function startWatchdog(env: Readonly<Record<string, string | undefined>>): Watchdog {
  if (process.platform === "win32") return { watch: () => {}, done: () => {} };
  const dog = spawn("sh", ["-c", script, "sluice-watchdog"], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
    env: env.PATH === undefined ? {} : { PATH: env.PATH },
  });
  // Without sh, or once it has been ended by somebody, commands simply run unguarded.
  dog.on("error", () => {});
  dog.stdin?.on("error", () => {});
  dog.unref();
  return {
    watch: (pid) => void dog.stdin?.write(`watch ${pid} ${startTime(pid)}\n`),
    done: () => void dog.stdin?.end("done\n"),
  };
}

/** Field 22 of /proc/PID/stat; "?" where that cannot be read. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "?";
  } catch {
    return "?";
  }
}
