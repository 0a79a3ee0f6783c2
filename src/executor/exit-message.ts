import type { ExitReport } from "./process-group.ts";
import type { LoadedPlugin } from "./registry.ts";

const gpuOutOfMemory =
  /CUDA out of memory|OutOfMemoryError.*(CUDA|HIP|GPU)|(CUDA|HIP) error:? out of memory|cudaErrorMemoryAllocation|hipErrorOutOfMemory|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED: Out of memory/i;

/** How a plugin's process ended, in words that follow its name, with what to do next where that can be told. */
export function exitMessage(plugin: LoadedPlugin, report: ExitReport, stderrTail: string): string {
  const { requirements } = plugin.manifest;
  const how = report.signal === undefined ? `ended with exit code ${report.code}` : `was ended by ${report.signal}`;
  if (gpuOutOfMemory.test(stderrTail)) {
    return `${how}; its stderr says that the GPU ran out of memory: raise resources.min_gpu_vram_mb (now ${requirements.vramMb}) in its manifest, or give it less to do.`;
  }
  if (report.signal === "SIGKILL" || report.code === 137) {
    return `${how}; sluice did not do that, so it was probably the kernel for lack of memory: raise resources.min_system_ram_mb (now ${requirements.ramMb}) in its manifest, or give it less to do.`;
  }
  const last =
    stderrTail
      .trimEnd()
      .split(/[\r\n]+/)
      .at(-1)
      ?.trim() ?? "";
  if (last === "") return `${how} and wrote nothing to stderr.`;
  return `${how}; the last line on its stderr: ${last.length > 300 ? `${last.slice(0, 299)}…` : last}`;
}
