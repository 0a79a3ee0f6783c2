/* A job that really takes GPU memory: cuda-job MIB SECONDS
 *
 * Allocates MIB on each GPU that it sees, besides what CUDA itself takes, writes to all of it, holds it for SECONDS and ends. Says
 * "ready MS" when it has it, MS after its start. Exit 77: CUDA out of memory; 78: no GPU, or no driver.
 * The driver's library is looked up at run time, so it compiles where there is no CUDA: cc -O2 -o cuda-job cuda-job.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef int (*function)();

enum { out_of_memory = 2, exit_out_of_memory = 77, exit_no_gpu = 78 };

static void *cuda;

static function look_up(const char *name) {
  function found = (function)dlsym(cuda, name);
  if (found == NULL) {
    fprintf(stderr, "cuda-job: the driver's library has no %s\n", name);
    exit(exit_no_gpu);
  }
  return found;
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void check(int code, const char *what, size_t has_mib) {
  if (code == 0) return;
  if (code == out_of_memory) {
    fprintf(stderr, "cuda-job: CUDA out of memory with %zu MiB (%s)\n", has_mib, what);
    exit(exit_out_of_memory);
  }
  fprintf(stderr, "cuda-job: %s: CUDA error %d\n", what, code);
  exit(exit_no_gpu);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: cuda-job MIB SECONDS\n");
    return 64;
  }
  double began = now_ms();
  size_t mib = strtoul(argv[1], NULL, 10);
  double seconds = strtod(argv[2], NULL);
  cuda = dlopen("libcuda.so.1", RTLD_NOW);
  if (cuda == NULL) {
    fprintf(stderr, "cuda-job: %s\n", dlerror());
    return exit_no_gpu;
  }
  int gpus = 0;
  check(look_up("cuInit")(0), "cuInit", 0);
  check(look_up("cuDeviceGetCount")(&gpus), "cuDeviceGetCount", 0);
  if (gpus == 0) {
    fprintf(stderr, "cuda-job: no GPU is visible\n");
    return exit_no_gpu;
  }
  for (int i = 0; i < gpus; i++) {
    int device;
    void *context;
    check(look_up("cuDeviceGet")(&device, i), "cuDeviceGet", 0);
    check(look_up("cuDevicePrimaryCtxRetain")(&context, device), "cuDevicePrimaryCtxRetain", 0);
    check(look_up("cuCtxSetCurrent")(context), "cuCtxSetCurrent", 0);
    /* Piece by piece, as frameworks do: so two that both believe in the same memory meet in it. */
    for (size_t has = 0; has < mib;) {
      size_t step = mib - has < 256 ? mib - has : 256;
      unsigned long long at;
      check(look_up("cuMemAlloc_v2")(&at, step << 20), "cuMemAlloc", has);
      check(look_up("cuMemsetD8_v2")(at, 1, step << 20), "cuMemset", has);
      has += step;
    }
    check(look_up("cuCtxSynchronize")(), "cuCtxSynchronize", mib);
  }
  printf("ready %.0f\n", now_ms() - began);
  fflush(stdout);
  struct timespec hold = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&hold, NULL);
  return 0;
}
