import { defineConfig } from "vitest/config";

// Four projects: `unit` needs nothing but Node; `process` starts real servers and real child processes from dist/; `clients` plays
// test/clients/scenarios.yaml with the clients of every language, and only where SLUICE_CLIENTS is set (test/clients/README.md);
// `performance` measures, needs the machine to itself, and runs only where SLUICE_PERFORMANCE is set (docs/performance.md).
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/process/**", "test/clients/clients.test.ts", "test/performance/**"],
          testTimeout: 15_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "process",
          include: ["test/process/**/*.test.ts"],
          // Lists of jobs that take minutes; docs/truth-test.md says how to run them.
          exclude: process.env.SLUICE_TRUTH_JOBS === undefined ? ["test/process/truth/**"] : [],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // They measure what happens within a sample period; two files at a time on a small machine would measure each other.
          fileParallelism: false,
          // For the same reason after the others, not beside them.
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "clients",
          include: process.env.SLUICE_CLIENTS === undefined ? [] : ["test/clients/clients.test.ts"],
          testTimeout: 90_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: "performance",
          include: process.env.SLUICE_PERFORMANCE === undefined ? [] : ["test/performance/**/*.test.ts"],
          testTimeout: 180_000,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
