import { defineConfig } from "vitest/config";

// Two projects: `unit` needs nothing but Node; `process` starts real servers and real child processes from dist/.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/process/**"],
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
    ],
  },
});
