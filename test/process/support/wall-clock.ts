import { execFileSync } from "node:child_process";
import { mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// The offset lies in a page that is shared with the test, so that a step is seen by the next reading of the clock.
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t none;
static volatile int64_t *seconds = &none;

__attribute__((constructor)) static void open_offset(void) {
  const char *path = getenv("WALL_CLOCK_OFFSET_FILE");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *at = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) seconds = at;
  close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int answer = real(clock, at);
  if (answer == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += *seconds;
  return answer;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int answer = real(at, zone);
  if (answer == 0) at->tv_sec += *seconds;
  return answer;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
`;

/** Why the clock of a process cannot be set here; undefined when it can. */
export const wallClockMissing = missing();

function missing(): string | undefined {
  if (process.platform !== "linux") return "there is no LD_PRELOAD here";
  try {
    execFileSync("gcc", ["--version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "there is no gcc to build the clock with";
  }
}

/** A wall clock for one process that can be set while it runs; its monotonic clock and its timers go on as they are. */
export class WallClock implements Disposable {
  /** What the process has to be started with. */
  readonly env: Readonly<Record<string, string>>;
  readonly #dir = mkdtempSync(join(tmpdir(), "sluice-clock-"));
  readonly #file: number;

  constructor() {
    const library = join(this.#dir, "wall-clock.so");
    writeFileSync(join(this.#dir, "wall-clock.c"), source);
    execFileSync("gcc", ["-shared", "-fPIC", "-O1", "-o", library, join(this.#dir, "wall-clock.c"), "-ldl"], {
      timeout: 30_000,
    });
    const offset = join(this.#dir, "offset");
    writeFileSync(offset, Buffer.alloc(8));
    this.#file = openSync(offset, "r+");
    this.env = { LD_PRELOAD: library, WALL_CLOCK_OFFSET_FILE: offset };
  }

  /** Sets the clock so far from the real one. */
  set(offsetSeconds: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(offsetSeconds));
    writeSync(this.#file, bytes, 0, 8, 0);
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
