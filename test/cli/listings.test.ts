import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BreakerState, PluginMode, ResidentState } from "#gen/sluice/v1/executor_pb.js";
import { expectGolden } from "../golden/golden.ts";
import { fakeMachine } from "./fake-machine.ts";
import { type FakeServer, startFakeServer } from "./fake-server.ts";
import { sluice } from "./run-in-process.ts";

let server: FakeServer;
beforeAll(async () => {
  server = await startFakeServer(fakeMachine);
});
afterAll(() => server.close());

const at = (text: string) => text.replaceAll(server.address, "ADDRESS");

describe("what listing commands print", () => {
  const listings: readonly (readonly [string, readonly string[]])[] = [
    ["status", ["status"]],
    ["queue", ["queue"]],
    ["leases", ["leases"]],
    ["gpus", ["gpus"]],
    ["gpus-processes", ["gpus", "--processes"]],
    ["monitor", ["monitor"]],
    ["policy", ["policy"]],
    ["plugins", ["plugins"]],
  ];
  for (const [name, argv] of listings) {
    it(`sluice ${argv.join(" ")} prints for people what test/golden/${name}.txt says`, async () => {
      const { code, out, err } = await sluice([...argv, "--address", server.address]);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expectGolden(`${name}.txt`, at(out));
    });

    it(`sluice ${argv.join(" ")} --json prints one document, as test/golden/${name}.json.txt says`, async () => {
      const { code, out, err } = await sluice([...argv, "--json"], { SLUICE_ADDRESS: server.address });
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(() => JSON.parse(out)).not.toThrow();
      expectGolden(`${name}.json.txt`, at(out));
    });
  }

  it("no control character of a name reaches the terminal", async () => {
    for (const argv of [["queue"], ["status"], ["gpus"], ["leases"], ["plugins"], ["explain", "--vram", "12000"]]) {
      const { out } = await sluice([...argv, "--address", server.address]);
      expect(out.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202a-\u202e]/u);
    }
  });

  it("status and plugins tell workers of a server that knows no more than their state", async () => {
    const plugins = [
      { manifest: { name: "chat", mode: PluginMode.WORKER }, resident: ResidentState.IN_USE },
      { manifest: { name: "idle", mode: PluginMode.WORKER }, resident: ResidentState.IDLE },
      { manifest: { name: "off", mode: PluginMode.WORKER } },
      { manifest: { name: "shell", mode: PluginMode.COMMAND } },
    ];
    const old = await startFakeServer({ ...fakeMachine, executor: { listPlugins: () => ({ plugins }) } });
    try {
      const { out } = await sluice(["status", "--address", old.address]);
      expect(out).toMatch(/\nchat +in use +- +- +- +- +-\nidle +idle +- +- +- +- +-\n$/);
      const listed = (await sluice(["plugins", "--address", old.address])).out;
      expect(listed).toMatch(/\nshell +- +command +no +0 +- +- +- +-\n$/);
    } finally {
      old.close();
    }
  });

  const breakers: readonly (readonly [string, object, string])[] = [
    ["that may be tried again now", { state: BreakerState.OPEN, failures: 3 }, "dead, broken"],
    ["that is tried", { state: BreakerState.HALF_OPEN, failures: 3 }, "dead, tried once more"],
    ["that failed once", { state: BreakerState.BACKING_OFF, failures: 1 }, "dead, failed"],
    ["that works", { state: BreakerState.CLOSED }, "dead"],
  ];
  it.each(breakers)("plugins says in a word or two how a worker is %s", async (_how, breaker, says) => {
    const plugins = [{ manifest: { name: "w", mode: PluginMode.WORKER }, resident: ResidentState.DEAD, breaker }];
    const one = await startFakeServer({ executor: { listPlugins: () => ({ plugins }) } });
    try {
      const { out } = await sluice(["plugins", "--address", one.address]);
      expect(out.split("\n")[1]).toMatch(new RegExp(`^w +- +worker +no +0 +${says} +- +- +-$`));
    } finally {
      one.close();
    }
  });

  it("names in JSON are those of the contract, and lists are there when they are empty", async () => {
    const { out } = await sluice(["queue", "--json", "--address", server.address]);
    const queue = JSON.parse(out);
    expect(queue.tickets[0].workload.resources.min_gpu_vram_mb).toBe(12000);
    expect(queue.tickets[1].workload.resources.gpu_uuids).toEqual([]);
    // Unknown is not zero: a number that was not measured is not there at all.
    expect(queue.gpus[1]).not.toHaveProperty("available_mb");
  });

  it("the address may come before the command too", async () => {
    const { code, out } = await sluice(["--address", server.address, "policy"]);
    expect(code).toBe(0);
    expect(out).toContain("safety");
  });

  it("queue --watch prints each state, as one JSON document a line, and says when the server ends it", async () => {
    const { code, out, err } = await sluice(["queue", "--watch", "--json", "--address", server.address]);
    const states = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(states.map((state) => state.tickets.length)).toEqual([2, 0]);
    expect(code).toBe(69);
    expect(err).toContain("the server has ended the watch");
  });
});

describe("what commands that change something say", () => {
  it("release says that memory is free only once it is seen to be", async () => {
    const { code, out } = await sluice(["release", "lease-1", "--address", server.address]);
    expect(code).toBe(0);
    expect(out).toBe("Lease lease-1 was given back; its memory is free once it is seen to be.\n");
  });

  it("cancel, evict, policy and monitor say what they did", async () => {
    const say = async (...argv: string[]) => (await sluice([...argv, "--address", server.address])).out;
    expect(await say("cancel", "ticket-9")).toBe("Ticket ticket-9 was taken out of the queue.\n");
    expect(await say("evict", "chat")).toBe("The worker of chat: evicting.\n");
    expect(await say("policy", "queue")).toBe(
      "policy      queue\nbefore      safety\ndiscipline  backfill\nbefore      backfill\n",
    );
    expect(await say("policy", "--unset")).toContain("policy      unset");
    expect(await say("monitor", "sys-mon-host")).toContain("sys-mon-host  yes     yes   Well.");
  });

  it("load, unload and evict say how the worker is then, and evict --soft that its memory has yet to be seen", async () => {
    const say = async (...argv: string[]) => await sluice([...argv, "--address", server.address]);
    expect(await say("load", "chat")).toEqual({
      code: 0,
      out: "The worker of chat: in use (2), loaded in 41s, 17,400 MiB of GPU memory.\n",
      err: "",
    });
    expect((await say("load", "embed")).out).toBe("The worker of embed: idle 12s.\n");
    for (const verb of ["unload", "evict"]) {
      const from = server.calls.length;
      expect((await say(verb, "embed")).out).toBe("The worker of embed: evicting.\n");
      expect(server.calls.slice(from)).toMatchObject([{ rpc: "UnloadPlugin", request: { name: "embed" } }]);
    }
    const from = server.calls.length;
    expect((await say("evict", "--soft", "embed")).out).toBe(
      "The worker of embed: it says that it gave its memory back; what is free is what `sluice gpus` shows.\n",
    );
    expect(server.calls.slice(from)).toMatchObject([{ rpc: "ReleasePlugin", request: { name: "embed" } }]);
  });

  it("a worker that has ended is called stopped, whichever way the server says so", async () => {
    for (const plugin of [{}, { resident: ResidentState.DEAD, worker: { state: ResidentState.DEAD } }]) {
      const gone = await startFakeServer({
        executor: { unloadPlugin: () => ({ plugin }), releasePlugin: () => ({ plugin }) },
      });
      try {
        expect((await sluice(["unload", "x", "--address", gone.address])).out).toBe("The worker of x: stopped.\n");
        expect((await sluice(["evict", "--soft", "x", "--address", gone.address])).out).toBe(
          "The worker of x: there is none.\n",
        );
      } finally {
        gone.close();
      }
    }
  });

  it("a worker that is busy or broken is told as such, and exits with 75: later it may work", async () => {
    const busy = await sluice(["evict", "--soft", "chat", "--address", server.address]);
    expect(busy).toEqual({
      code: 75,
      out: "",
      err: 'sluice: The worker of "chat" works on 2 executions; try again once it is idle.\n',
    });
    const broken = await sluice(["load", "segment", "--address", server.address]);
    expect(broken).toMatchObject({ code: 75, out: "", err: expect.stringContaining("failed 3 times in a row alike") });
  });

  it("load, unload and evict need the name of a plugin", async () => {
    for (const verb of ["load", "unload", "evict"]) expect((await sluice([verb, "--address", server.address])).code).toBe(2);
  });

  it("policy takes a name or --unset, not both, and a discipline only with its name", async () => {
    for (const wrong of [["queue", "--unset"], ["--discipline", ""], ["--discipline"]]) {
      expect((await sluice(["policy", "--address", server.address, ...wrong])).code, wrong.join(" ")).toBe(2);
    }
  });

  it("policy --discipline sets the discipline and leaves the policy as it is, unless one is named", async () => {
    const set = async (...argv: string[]) => {
      const from = server.calls.length;
      const { out } = await sluice(["policy", ...argv, "--address", server.address]);
      expect(out).toContain("discipline  strict-fifo\nbefore      backfill\n");
      return server.calls.slice(from).filter((call) => call.rpc === "SetPolicy");
    };
    const only = await set("--discipline", "strict-fifo");
    expect(only).toMatchObject([{ request: { policy: "safety", discipline: "strict-fifo" } }]);
    const both = await set("queue", "--discipline", "strict-fifo");
    expect(both).toMatchObject([{ request: { policy: "queue", discipline: "strict-fifo" } }]);
    const unset = await set("--unset", "--discipline", "strict-fifo");
    expect(unset).toMatchObject([{ request: { policy: "", discipline: "strict-fifo" } }]);
    const { out } = await sluice(["policy", "--discipline", "best-effort", "--json", "--address", server.address]);
    expect(JSON.parse(out)).toEqual({
      policy: "safety",
      previous: "safety",
      discipline: "best-effort",
      previous_discipline: "backfill",
    });
  });

  it("a server from before disciplines is shown as it is, and setting one there is an error and not a silence", async () => {
    const old = await startFakeServer({
      scheduler: {
        getPolicy: () => ({ policy: "queue", available: ["queue"] }),
        setPolicy: (request) => ({ policy: request.policy, previous: "queue" }),
      },
    });
    try {
      const shown = await sluice(["policy", "--address", old.address]);
      expect(shown).toMatchObject({ code: 0, out: "policy      queue\navailable   queue\n" });
      const { code, err } = await sluice(["policy", "--discipline", "backfill", "--address", old.address]);
      expect(code).toBe(1);
      expect(err).toContain("too old to know disciplines");
    } finally {
      old.close();
    }
  });

  it("queue does not list a tenant that is alone", async () => {
    const alone = await startFakeServer({ scheduler: { listQueue: () => ({ tenants: [{ tenant: "default" }] }) } });
    try {
      expect((await sluice(["queue", "--address", alone.address])).out).toBe("Nobody waits.\n0 leases\n");
    } finally {
      alone.close();
    }
  });

  it("queue counts from the server's clock: a client's that goes wrong does not move a start", async () => {
    const age = durationFromMs(20_000);
    // By the clock of this machine all of this is long ago.
    const ticket = {
      submittedAt: timestampFromMs(0),
      age,
      eta: timestampFromMs(80_001),
      expectedStart: timestampFromMs(50_000),
    };
    const old = await startFakeServer({ scheduler: { listQueue: () => ({ tickets: [ticket] }) } });
    try {
      expect((await sluice(["queue", "--address", old.address])).out).toContain("~ 30 s, ≤ 2 min");
    } finally {
      old.close();
    }
  });

  it("plugins --reload tells each error by file and field, and exits with 1", async () => {
    const { code, out, err } = await sluice(["plugins", "--reload", "--address", server.address]);
    expect(code).toBe(1);
    expect(out).toContain("whisper-local");
    expect(err).toBe(
      "/plugins/bad.json: resources.min_gpu_vram_mb: must be a whole number, not -1\n/plugins/worse.json: is not valid JSON\n",
    );
  });
});

describe("explain", () => {
  it("says yes and where, and exits with 0", async () => {
    const { code, out } = await sluice(["explain", "--vram", "6000", "--address", server.address]);
    expect(code).toBe(0);
    expectGolden("explain-yes.txt", out);
  });

  it("says not now, why, and what would fit, and exits with 75", async () => {
    const { code, out } = await sluice(["explain", "--vram", "12000", "--gpus", "1", "--address", server.address]);
    expect(code).toBe(75);
    expectGolden("explain-not-now.txt", out);
  });

  it("names what would have to go, also when a server tells no more than names", async () => {
    const old = await startFakeServer({ scheduler: { explain: () => ({ wouldEvict: ["chat", "embed"], policy: "queue" }) } });
    try {
      const { out } = await sluice(["explain", "--vram", "1", "--address", old.address]);
      expect(out).toContain("Would have to go first: chat, embed\n");
    } finally {
      old.close();
    }
  });

  it("says never for what no empty machine holds", async () => {
    const { code, out } = await sluice(["explain", "--vram", "40000", "--address", server.address]);
    expect(code).toBe(75);
    expect(out).toContain("Never: 1 GPU with 40000 MiB cannot fit on this machine");
    expect(out).toContain("The largest of this shape that this machine can hold: 1 GPU with 23726 MiB");
  });
});
