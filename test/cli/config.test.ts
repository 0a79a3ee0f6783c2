import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { expectGolden } from "../golden/golden.ts";
import { sluice } from "./run-in-process.ts";

describe("sluice config", () => {
  let folder: string;
  let file: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-config-"));
    file = join(folder, "sluice.json");
    writeFileSync(
      file,
      JSON.stringify({ policy: "queue", plugins: ["/opt/plugins", "/srv/more"], margin: "3%", maxQueue: 100 }),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const env = { SLUICE_LEASE_TTL: "90", SLUICE_MAX_QUEUE: "200", SLUICE_POLL_INTERVALL: "1" };
  const flags = () => [
    "--config",
    file,
    "--grpc",
    "127.0.0.1:6000",
    "--grpc",
    "unix:/run/s.sock",
    "--insecure",
    "--max-queue",
    "300",
    "--tenant-limit",
    "vision:gpus=2,vram=40000",
    "--tenant-limit",
    "*:queued=100",
  ];

  it("prints every setting with its value and where that comes from", async () => {
    const { code, out, err } = await sluice(["config", ...flags()], env);
    expect(code).toBe(0);
    expect(err).toContain("did you mean SLUICE_POLL_INTERVAL?");
    expectGolden("config.txt", out);
  });

  it("prints the same as JSON", async () => {
    const { code, out } = await sluice(["config", ...flags(), "--json"], env);
    expect(code).toBe(0);
    expectGolden("config.json.txt", out);
  });

  it("takes the file from SLUICE_CONFIG too", async () => {
    const { out } = await sluice(["config", "--json"], { SLUICE_CONFIG: file });
    expect(JSON.parse(out).policy).toEqual({ value: "queue", unit: "", origin: "file", set_by: "policy" });
  });

  it("tells every problem on a line of its own, and exits with 2", async () => {
    const { code, out, err } = await sluice(["config", "--timeout", "x", "--learned-memory", "min"]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err.trim().split("\n")).toHaveLength(2);
    expect(err).toMatch(/^sluice: --timeout/);
  });
});
