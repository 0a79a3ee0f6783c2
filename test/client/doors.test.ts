import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connect as connectInBrowser } from "../../src/client/browser.ts";
import { grpcDoor } from "../../src/client/grpc-door.ts";
import { connect } from "../../src/client/node.ts";
import { type FakeServer, startFakeServer } from "../cli/fake-server.ts";
import { type House, openHouse } from "../transport/harness.ts";
import { waitFor } from "../wait-for.ts";
import { FakeScheduler, gone } from "./fake-scheduler.ts";

const need = { vramMb: 4096 };

describe("over gRPC", () => {
  let fake: FakeScheduler;
  let server: FakeServer;
  beforeEach(async () => {
    fake = new FakeScheduler();
    server = await startFakeServer({ scheduler: fake.scheduler });
  });
  afterEach(() => {
    server.close();
    vi.unstubAllEnvs();
  });

  it("a lease is waited for, held with this process attached, and given back", async () => {
    await using client = connect(server.address);
    {
      await using lease = await client.resources(need);
      // By which name the server is reached from here it cannot know.
      expect(lease.env.SLUICE_ADDRESS).toBe(server.address);
      expect(fake.calls).toContain(`AttachProcess ${process.pid}`);
    }
    expect(fake.calls.at(-1)).toBe("ReleaseLease lease-1");
  });

  it("the address is what is given, else the environment's, else the default", () => {
    vi.stubEnv("SLUICE_ADDRESS", "gpu-box:50051");
    expect(connect("here:1").address).toBe("here:1");
    expect(connect().address).toBe("gpu-box:50051");
    vi.stubEnv("SLUICE_ADDRESS", "");
    expect(connect().address).toBe("127.0.0.1:50051");
  });

  it("a process is attached only where the server knows its pid", async () => {
    for (const address of ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/sluice"])
      expect(grpcDoor(address, 1_000).isLocal, address).toBe(true);
    for (const address of ["gpu-box:1", "10.0.0.1:1", "[2001:db8::1]:1"])
      expect(grpcDoor(address, 1_000).isLocal, address).toBe(false);
  });

  it("an address that is none is told with what would be one", () => {
    expect(() => connect("gpu box")).toThrow(expect.objectContaining({ name: "InvalidRequest", reason: "INVALID_ARGUMENT" }));
    expect(() => connect("gpu box")).toThrow('must be "host:port"');
  });

  it("closing a client ends its calls and leaves other clients of the same server alone", async () => {
    fake.onWait = async function* (_, signal) {
      yield fake.queued();
      await gone(signal);
    };
    const one = connect(server.address);
    const other = connect(server.address);
    const streams = [one, other].map((client) => client.scheduler.waitForResources({})[Symbol.asyncIterator]());
    for (const stream of streams) await stream.next();
    one.close();
    await expect(streams[0]?.next()).rejects.toMatchObject({ code: Code.Canceled });
    expect((await other.scheduler.startExecution({})).executionId).toBe("execution-1");
    other.close();
  });

  it("a warning is the process's own, unless the program wants to hear it", async () => {
    fake.ttlMs = 1_000;
    fake.onRenew = () => {
      throw new ConnectError("away", Code.Unavailable);
    };
    const emitted = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const client = connect(server.address);
    const lease = await client.resources(need);
    await waitFor(() => lease.lost, "the loss");
    expect(emitted).toHaveBeenCalledWith(expect.stringContaining("lease-1 is lost"), "SluiceWarning");
    client.close();
    emitted.mockRestore();
  });
});

describe("over the web door", () => {
  let house: House;
  beforeEach(async () => {
    house = await openHouse();
  });
  afterEach(() => house.close());

  for (const [where, open] of [
    ["on Node", connect],
    ["in a browser", connectInBrowser],
  ] as const) {
    it(`calls are answered, and errors have their details, ${where}`, async () => {
      using client = open(house.webUrl);
      expect((await client.scheduler.getLease({ leaseId: "l" })).lease?.id).toBe("l");
    });

    it(`breaking out of a stream cancels the call, ${where}`, async () => {
      using client = open(house.webUrl);
      for await (const _ of client.scheduler.waitForResources({ workload: { name: "waits" } })) break;
      await waitFor(() => house.scheduler.seen.at(-1) === "waits: finally", "finally");
    });

    it(`closing the client ends its streams, ${where}`, async () => {
      const client = open(house.webUrl);
      const stream = client.scheduler.waitForResources({ workload: { name: "waits" } })[Symbol.asyncIterator]();
      await stream.next();
      client.close();
      await expect(stream.next()).rejects.toThrow();
      await waitFor(() => house.scheduler.seen.at(-1) === "waits: finally", "finally");
    });
  }

  it("a server that is not there is Unreachable", async () => {
    await expect(connect("http://127.0.0.1:1").explain(need)).rejects.toMatchObject({
      name: "Unreachable",
      message: expect.stringContaining("no server answers at http://127.0.0.1:1"),
    });
  });

  it("a browser is told that it does not reach the gRPC door, and asks where the page came from unless told", () => {
    expect(() => connectInBrowser("127.0.0.1:50051")).toThrow("not an address of the web door");
    expect(() => connectInBrowser()).toThrow("there is no page here");
    vi.stubGlobal("location", { origin: "http://gpu-box:8080" });
    expect(connectInBrowser().address).toBe("http://gpu-box:8080");
    vi.unstubAllGlobals();
  });
});
