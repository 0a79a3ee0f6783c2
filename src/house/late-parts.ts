/**
 * Parts that a server can start without, and that whoever needs them loads. Loaded soon after the start in any case, while the files on
 * the disk are still those of this server: an update that replaces them must not take away what it has not read yet.
 */
export async function loadLateParts(): Promise<void> {
  await Promise.all([
    import("../executor/worker-process.ts"),
    import("../monitor/nvidia/query-xml.ts"),
    import("systeminformation/lib/cpu.js"),
  ]);
}
