import { describe, expect, it } from "vitest";
import { Failure, invalidArgument } from "../../src/engine/failure.ts";
import { expectGolden } from "../golden/golden.ts";
import { type FakeServices, startFakeServer } from "./fake-server.ts";
import { sluice } from "./run-in-process.ts";

async function against(services: FakeServices, ...argv: string[]) {
  const server = await startFakeServer(services);
  try {
    return await sluice([...argv, "--address", server.address]);
  } finally {
    server.close();
  }
}

describe("help and usage", () => {
  it("--help prints what test/golden/help.txt says", async () => {
    const { code, out } = await sluice(["--help"]);
    expect(code).toBe(0);
    expectGolden("help.txt", out);
  });

  it("run --help, help run and config --help print what the golden files say", async () => {
    const { code, out } = await sluice(["run", "--help"]);
    expect(code).toBe(0);
    expectGolden("help-run.txt", out);
    expect((await sluice(["help", "run"])).out).toBe(out);
    expectGolden("help-config.txt", (await sluice(["config", "--help"])).out);
  });

  it("every wrong command line exits with 2 and says what is wrong on standard error alone", async () => {
    const wrong: [string[], RegExp][] = [
      [[], /Usage: sluice/],
      [["statu"], /unknown command 'statu'.*\n.*status/],
      [["status", "--jsno"], /unknown option '--jsno'/],
      [["run", "--vram", "6g", "--", "true"], /whole number/],
      [["run", "--vram", "-1", "--", "true"], /whole number/],
      [["run", "--vram", "1"], /missing required argument/],
      [["run", "--", "true"], /say what it needs: --vram MIB/],
      [["explain"], /say what it needs/],
      [["exec", "p", "--arg", "novalue"], /NAME=VALUE/],
      [["exec", "p", "--json-args", "[1]"], /JSON object/],
      [["leases", "--address", "nonsense"], /host:port/],
      [["config", "--timeout", "-5"], /--timeout: "-5" is not allowed; it must be a number of seconds/],
    ];
    for (const [argv, words] of wrong) {
      const { code, out, err } = await sluice(argv);
      expect({ argv, code, out }).toEqual({ argv, code: 2, out: "" });
      expect(err).toMatch(words);
    }
  });
});

describe("errors of the server", () => {
  it("a server that cannot be reached is told with its address and what to do, and exits with 69", async () => {
    const server = await startFakeServer({});
    server.close();
    const { code, out, err } = await sluice(["leases", "--json", "--address", server.address]);
    expect({ code, out }).toEqual({ code: 69, out: "" });
    expect(err).toMatch(
      new RegExp(
        `^sluice: no server can be reached at ${server.address}\\. Start one with \`npx sluice serve\`.*--address.*ECONNREFUSED`,
      ),
    );
    expect(err.split("\n")).toHaveLength(2);
  });

  it("what the server says about bad input is passed on, and exits with 2", async () => {
    const { code, err } = await against(
      {
        scheduler: {
          setPolicy: () =>
            Promise.reject(invalidArgument({ field: "policy", description: "must be one of permissive, safety, queue" })),
        },
      },
      "policy",
      "fast",
    );
    expect({ code, err }).toEqual({ code: 2, err: "sluice: policy: must be one of permissive, safety, queue\n" });
  });

  it("a server that drains is a reason to try later, and exits with 75", async () => {
    const { code, err } = await against(
      {
        scheduler: {
          listLeases: () => Promise.reject(new Failure("DRAINING", "The server is shutting down; try again when it is back.")),
        },
      },
      "leases",
    );
    expect({ code, err }).toEqual({ code: 75, err: "sluice: The server is shutting down; try again when it is back.\n" });
  });

  it("a ticket that does not wait is a failure, and exits with 1", async () => {
    const { code, err } = await against(
      {
        scheduler: {
          cancelTicket: () =>
            Promise.reject(new Failure("TICKET_NOT_FOUND", "No ticket t\u001b[2J waits; `sluice queue` lists those that do.")),
        },
      },
      "cancel",
      "t",
    );
    // What a server says could come from anybody, so it is made safe to print as well.
    expect({ code, err }).toEqual({ code: 1, err: "sluice: No ticket t\\x1b[2J waits; `sluice queue` lists those that do.\n" });
  });

  it("another kind of server is told from one that is away", async () => {
    const { code, err } = await against({}, "leases");
    expect(code).toBe(1);
    expect(err).toContain("does not know this call; is it sluice");
  });
});
