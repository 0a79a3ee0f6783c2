import { spawnSync } from "node:child_process";
import { connect } from "sluice/client";

await using client = connect();
await using lease = await client.resources({ vramMb: 4096, name: "whisper", onProgress: (wait) => console.error(`${wait}`) });
const python = "import os; print('ours:', os.environ['CUDA_VISIBLE_DEVICES'])";
spawnSync("python3", ["-c", python], { stdio: "inherit", env: { ...process.env, ...lease.env } });
