import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { Failure } from "../../src/engine/failure.ts";
import { formatAddress, loopbackOnly, parseAddress } from "../../src/transport/address.ts";
import { connectClient } from "../../src/transport/client.ts";
import { HostNames } from "../../src/transport/host-names.ts";
import { listen } from "../../src/transport/listen.ts";
import { openHouse } from "./harness.ts";

describe("an address", () => {
  it.each([
    ["127.0.0.1:50051", { kind: "tcp", host: "127.0.0.1", port: 50051 }],
    ["gpu-box.example:1", { kind: "tcp", host: "gpu-box.example", port: 1 }],
    ["[::1]:0", { kind: "tcp", host: "::1", port: 0 }],
    ["unix:/run/sluice.sock", { kind: "unix", path: "/run/sluice.sock" }],
    ["unix:///run/sluice.sock", { kind: "unix", path: "/run/sluice.sock" }],
    ["unix:here.sock", { kind: "unix", path: "here.sock" }],
  ])("%s is read", (text, expected) => {
    expect(parseAddress(text)).toEqual(expected);
    expect(parseAddress(formatAddress(parseAddress(text)))).toEqual(expected);
  });

  it.each([
    "",
    "50051",
    ":50051",
    "::1:50051",
    "[::1]",
    "[localhost]:1",
    "host:65536",
    "host:port",
    "a b:1",
    "http://host:1",
    "unix:",
    "unix:/a\0b",
  ])("%j is refused in plain words that name the field", (text) => {
    expect(() => parseAddress(text, "grpc")).toThrow(Failure);
    expect(() => parseAddress(text, "grpc")).toThrow(/^grpc: /);
    expect(() => connectClient(text)).toThrow(Failure);
  });

  it.each([
    "127.0.0.1:1",
    "127.8.9.10:1",
    "localhost:1",
    "LOCALHOST:1",
    "[::1]:1",
    "[0:0:0:0:0:0:0:1]:1",
    "[::ffff:127.0.0.1]:1",
    "[::ffff:7f00:1]:1",
    "unix:/x",
  ])("%s stays on this machine", (text) => {
    expect(() => loopbackOnly(text)).not.toThrow();
  });

  it.each([
    "0.0.0.0:1",
    "[::]:1",
    "192.168.1.7:1",
    "example.com:1",
    "localhost.example.com:1",
    "127.0.0.1.example.com:1",
    "[::ffff:192.168.1.7]:1",
    "[::ffff:0.127.0.1]:1",
    "[::ffff:0.0.0.0]:1",
    "[fe80::1%eth0]:1",
    "[::2]:1",
    "127.1:1",
    "2130706433:1",
  ])("%s can be reached from elsewhere and is refused, unless that is wanted", (text) => {
    expect(() => loopbackOnly(text, { field: "grpc" })).toThrow(/^grpc: .*--insecure/);
    expect(() => loopbackOnly(text, { insecure: true })).not.toThrow();
  });
});

describe("host names of the web door", () => {
  const names = new HostNames(["sluice.internal", "fd00::7", "0.0.0.0"]);

  it.each(["localhost", "localhost:8080", "LocalHost:1", "127.0.0.1:8080", "[::1]:8080", "sluice.internal", "[fd00::7]:1"])(
    "%s is answered",
    (host) => {
      expect(names.allows(host, "127.0.0.1")).toBe(true);
    },
  );

  it.each([
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example:80",
    "localhost:80@evil.example",
    "0.0.0.0:8080",
    "[::]:80",
    "",
    "10.0.0.5",
    undefined,
  ])("%s is not", (host) => {
    expect(names.allows(host, "127.0.0.1")).toBe(false);
  });

  it("the address that the client connected to is answered, also when the socket says it the IPv6 way", () => {
    expect(names.allows("10.0.0.5:8080", "10.0.0.5")).toBe(true);
    expect(names.allows("10.0.0.5:8080", "::ffff:10.0.0.5")).toBe(true);
    expect(names.allows("10.0.0.6:8080", "10.0.0.5")).toBe(false);
  });
});

describe("listening", () => {
  const open: { close(): unknown }[] = [];

  afterEach(() => {
    for (const one of open.splice(0)) one.close();
  });

  const listenOn = async (address: string) => {
    const listening = await listen(address, "grpc", () => createServer());
    open.push(listening);
    return listening;
  };

  it("on port 0 takes a free one and says which", async () => {
    const { address } = await listenOn("127.0.0.1:0");
    expect(address).toMatch(/^127\.0\.0\.1:[1-9]\d+$/);
  });

  it("on localhost is on everything that localhost stands for, with one port", async () => {
    const { address, servers } = await listenOn("localhost:0");
    expect(address).toMatch(/^localhost:[1-9]\d+$/);
    const ports = servers.map((server: Server) => {
      const bound = server.address();
      return typeof bound === "object" ? bound?.port : undefined;
    });
    expect(new Set(ports).size).toBe(1);
    expect(address).toBe(`localhost:${ports[0]}`);
  });

  it("on a port that is taken says so, and what to do", async () => {
    const { address } = await listenOn("127.0.0.1:0");
    await expect(listenOn(address)).rejects.toThrow(
      `grpc: ${address} is in use by another program; end it or choose another address`,
    );
  });

  it("on an address that this machine does not have says so", async () => {
    await expect(listenOn("192.0.2.1:0")).rejects.toThrow(/is not an address of this machine/);
    await expect(listenOn("no-such-host.invalid:0")).rejects.toThrow(/cannot be resolved/);
  });

  it("one door that cannot be opened leaves none open", async () => {
    const taken = await listenOn("127.0.0.1:0");
    const free = await listenOn("127.0.0.1:0");
    free.close();
    await expect(openHouse({ grpc: { addresses: [free.address, taken.address] } })).rejects.toThrow(/is in use/);
    await expect(openHouse({ grpc: { addresses: [free.address] }, web: { address: taken.address } })).rejects.toThrow(
      /is in use/,
    );
    expect((await listenOn(free.address)).address).toBe(free.address);
  });

  it("a door that other machines could reach is not opened", async () => {
    await expect(openHouse({ grpc: { addresses: ["0.0.0.0:0"] } })).rejects.toThrow(/--insecure/);
    await expect(openHouse({ web: { address: "[::]:0" } })).rejects.toThrow(/--insecure/);
  });

  it("two addresses of one door serve the same", async () => {
    const house = await openHouse({ grpc: { addresses: ["127.0.0.1:0", "127.0.0.1:0"] } });
    for (const address of house.doors.grpcAddresses) {
      const connection = connectClient(address);
      expect((await connection.client(SchedulerService).getLease({ leaseId: "l" })).lease?.id).toBe("l");
      connection.close();
    }
    expect(new Set(house.doors.grpcAddresses).size).toBe(2);
    await house.close();
  });
});
