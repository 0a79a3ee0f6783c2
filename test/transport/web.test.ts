import { spawn } from "node:child_process";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { waitFor } from "../wait-for.ts";
import { type House, openHouse } from "./harness.ts";

let house: House;

beforeEach(async () => {
  house = await openHouse();
});

afterEach(() => house.close());

/** One request as curl would send it, with whatever headers. */
async function ask(path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}) {
  const url = new URL(house.webUrl);
  const sent = httpRequest({
    host: url.hostname,
    port: url.port,
    path,
    method: options.method ?? "GET",
    headers: options.headers,
    agent: false,
  });
  sent.end(options.body);
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, headers: response.headers, body };
}

/** A client that waits and tells of every ping, which Node answers by itself. */
const waitingOverHttp2 = `
  import { connect } from "node:http2";
  const session = connect(process.argv[1]);
  session.on("ping", () => process.stdout.write("ping "));
  const stream = session.request({
    ":method": "POST",
    ":path": "/sluice.v1.SchedulerService/WaitForResources",
    "content-type": "application/connect+json",
  });
  const body = Buffer.from('{"workload":{"name":"waits"}}');
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]));
  stream.resume();
`;

const json = { "content-type": "application/json" };
const getLease = "/sluice.v1.SchedulerService/GetLease";

describe("a plain HTTP client", () => {
  it("calls a method with JSON and reads JSON", async () => {
    const { status, body } = await ask(getLease, { method: "POST", headers: json, body: '{"leaseId":"l1"}' });
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({ lease: { id: "l1", token: "7" } });
  });

  it("calls a method without side effects with GET", async () => {
    const { body } = await ask(`${getLease}?encoding=json&message=${encodeURIComponent('{"leaseId":"l1"}')}`);
    expect(JSON.parse(body)).toEqual({ lease: { id: "l1", token: "7" } });
  });

  it("is told what is wrong with JSON that cannot be read, as INVALID_ARGUMENT", async () => {
    for (const body of ["{", '{"leaseId":5}', "[]", ""]) {
      const answer = await ask(getLease, { method: "POST", headers: json, body });
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.body)).toMatchObject({ code: "invalid_argument" });
    }
  });

  it("is told of a field that is not known: a misspelt need must not become no need", async () => {
    const wrong = await ask(getLease, { method: "POST", headers: json, body: '{"leaseIdd":"l1"}' });
    expect(wrong.status).toBe(400);
    expect(JSON.parse(wrong.body)).toMatchObject({ code: "invalid_argument", message: expect.stringContaining("leaseIdd") });
  });

  it("is told by status when the method or the content type is not one that is served", async () => {
    expect((await ask(getLease, { method: "PUT", headers: json, body: "{}" })).status).toBe(405);
    expect((await ask(getLease, { method: "POST", headers: { "content-type": "text/plain" }, body: "{}" })).status).toBe(415);
    expect((await ask("/sluice.v1.SchedulerService/SetPolicy?encoding=json&message={}")).status).toBe(405);
  });

  it("gets no CORS headers", async () => {
    const { headers } = await ask(getLease, {
      method: "POST",
      headers: { ...json, origin: "https://evil.example" },
      body: "{}",
    });
    expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
    expect((await ask(getLease, { method: "OPTIONS", headers: { origin: "https://evil.example" } })).status).toBe(405);
  });
});

describe("what is not there", () => {
  it.each([
    "/",
    "/<script>alert(1)</script>",
    "/sluice.v1.SchedulerService/%3Cb%3E",
    "/sluice.v1.SchedulerService/Nope",
    "/healthz/",
    "//healthz",
    "*",
  ])("%s is a plain 404 that says nothing back", async (path) => {
    const { status, headers, body } = await ask(path, { headers: { "x-name": "reflected?" } });
    expect(status).toBe(404);
    expect(headers["content-type"]).toBe("text/plain; charset=utf-8");
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(body).toBe("nothing is here\n");
  });
});

describe("the Host header", () => {
  it("other than this machine's names is not answered, on any page", async () => {
    for (const path of ["/healthz", "/readyz", "/metrics", getLease, "/nope"]) {
      const { status, headers, body } = await ask(path, { headers: { host: "evil.example" } });
      expect(status).toBe(421);
      expect(headers["content-type"]).toBe("text/plain; charset=utf-8");
      expect(body).not.toContain("evil");
    }
    expect(house.scheduler.seen).toEqual([]);
  });

  it("that names this machine, or what was configured, is answered", async () => {
    const named = await openHouse({ web: { address: "127.0.0.1:0", hosts: ["gpu.internal"] } });
    const own = house;
    house = named;
    for (const host of ["localhost", "127.0.0.1:1", "[::1]:8080", "GPU.internal:80"]) {
      expect((await ask("/healthz", { headers: { host } })).status).toBe(200);
    }
    await named.close();
    house = own;
  });
});

describe("the pages for operators", () => {
  it("/healthz is 200 as long as the process lives, /readyz only while work is taken", async () => {
    expect(await ask("/healthz")).toMatchObject({ status: 200, body: "ok\n" });
    const ready = await ask("/readyz");
    expect(ready.status).toBe(200);
    expect(JSON.parse(ready.body)).toEqual({ ready: true, state: "serving" });
    house.health.pause();
    expect(await ask("/readyz")).toMatchObject({ status: 503, body: '{"ready":false,"state":"paused"}\n' });
    house.health.serve();
    expect((await ask("/readyz")).status).toBe(200);

    let waitersEnd = () => {};
    const drained = house.doors.drain(5_000, () => new Promise((resolve) => (waitersEnd = resolve)));
    expect(await ask("/readyz")).toMatchObject({ status: 503, body: '{"ready":false,"state":"draining"}\n' });
    expect((await ask("/healthz")).status).toBe(200);
    waitersEnd();
    await drained;
  });

  it("/metrics is what Prometheus reads, and HEAD and POST are what they should be", async () => {
    const { status, headers, body } = await ask("/metrics");
    expect(status).toBe(200);
    expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(body).toContain("# TYPE sluice_rpc_duration_seconds histogram");
    expect(await ask("/metrics", { method: "HEAD" })).toMatchObject({ status: 200, body: "" });
    expect((await ask("/metrics", { method: "POST" })).status).toBe(405);
  });

  it("/metrics that cannot be made tells an id and not why", async () => {
    house.metrics.collect(() => {
      throw new Error("/etc/sluice/secret: hunter2");
    });
    const { status, body } = await ask("/metrics");
    expect(status).toBe(500);
    expect(body).toMatch(/^internal error, id [-0-9a-f]{36}; the server's log has more\n$/);
  });
});

describe("a connection", () => {
  it("that speaks no HTTP is closed without harm", async () => {
    const url = new URL(house.webUrl);
    const socket = connect(Number(url.port), url.hostname);
    socket.end("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    socket.resume();
    await once(socket, "close");
    expect((await ask("/healthz")).status).toBe(200);
  });

  // Guards against the client's half that is left when only its writing end is closed: such a waiter would never be noticed.
  it("whose client has gone in the middle of a stream ends that stream", async () => {
    const url = new URL(house.webUrl);
    const body = Buffer.from('{"workload":{"name":"waits"}}');
    const envelope = Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]);
    const socket = connect(Number(url.port), url.hostname);
    socket.write(
      `POST /sluice.v1.SchedulerService/WaitForResources HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/connect+json\r\ncontent-length: ${envelope.length}\r\n\r\n`,
    );
    socket.write(envelope);
    await once(socket, "data");
    socket.resume();
    socket.end();
    await waitFor(() => house.scheduler.seen.at(-1) === "waits: finally", "finally");
  });

  it("over HTTP/2 of a client that is frozen ends, with the streams on it; one that lives is left alone", async () => {
    const own = await openHouse({ web: { address: "127.0.0.1:0", liveness: { timeMs: 150, timeoutMs: 300 } } });
    const client = spawn(process.execPath, ["--input-type=module", "-e", waitingOverHttp2, own.webUrl], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      let told = "";
      client.stdout.on("data", (chunk) => (told += chunk));
      await waitFor(() => (told.match(/ping/g) ?? []).length >= 5, "a living client to answer pings");
      expect(own.scheduler.seen.at(-1)).toBe("waits: open");
      client.kill("SIGSTOP");
      await waitFor(() => own.scheduler.seen.at(-1) === "waits: finally", "the frozen client to be noticed");
    } finally {
      client.kill("SIGKILL");
      await own.close();
    }
  });

  // Guards against connections that browsers open in reserve: nothing knows yet which protocol they will speak.
  it("that has never said anything does not hold the drain up", async () => {
    const url = new URL(house.webUrl);
    const spare = connect(Number(url.port), url.hostname);
    await once(spare, "connect");
    expect((await ask("/healthz")).status).toBe(200);
    const started = performance.now();
    await house.doors.drain(10_000, async () => {});
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  it("that is idle does not hold the drain up, nor does one that is kept alive after its last answer", async () => {
    const url = new URL(house.webUrl);
    const idle = connect(Number(url.port), url.hostname);
    idle.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await once(idle, "data");
    const waiting = connect(Number(url.port), url.hostname);
    const body = '{"leaseId":"hang"}';
    waiting.write(
      `POST ${getLease} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnect-timeout-ms: 300\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    waiting.resume();
    idle.resume();
    await waitFor(async () => (await ask("/healthz")).status === 200, "the requests to arrive");
    const started = performance.now();
    await house.doors.drain(10_000, async () => {});
    expect(performance.now() - started).toBeLessThan(3_000);
  });
});
