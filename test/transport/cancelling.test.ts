import { connect } from "node:http2";
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import { connectClient } from "../../src/transport/client.ts";
import { errorOf, type House, openHouse } from "./harness.ts";

// nodejs/node#54875
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const hasOption = major > 22 || (major === 22 && minor >= 14);
/** More than twice what Node takes at once from one connection, unless it is told otherwise. */
const cancelled = 2_500;

let house: House;

beforeEach(async () => {
  house = await openHouse();
});

afterEach(() => house.close());

/** Waits and gives up, a hundred at a time. */
async function giveUp(scheduler: ReturnType<typeof schedulerOf>["scheduler"], times: number): Promise<void> {
  for (let n = 0; n < times; n += 100) {
    const all = Array.from({ length: 100 }, async () => {
      for await (const _ of scheduler.waitForResources({ workload: { name: "waits" } })) break;
    });
    await Promise.allSettled(all);
  }
}

function schedulerOf(house: House) {
  const connection = connectClient(house.grpcAddress, { timeoutMs: 20_000 });
  return { connection, scheduler: connection.client(SchedulerService) };
}

if (hasOption) {
  // Guards a client that waits beside others on one connection: Node ended it, after ten minutes at 36 cancelled calls a second.
  it(`a client may cancel ${cancelled} calls, and what else runs on its connection goes on`, async () => {
    const { connection, scheduler } = schedulerOf(house);
    const abort = new AbortController();
    const beside = errorOf(scheduler.getLease({ leaseId: "hang" }, { signal: abort.signal }));
    await giveUp(scheduler, cancelled);
    expect((await scheduler.getLease({ leaseId: "after" })).lease?.id).toBe("after");
    abort.abort();
    expect((await beside).code).toBe(Code.Canceled);
    connection.close();
  });

  it("so it may at the web door, over HTTP/2", async () => {
    const session = connect(house.webUrl);
    let told: number | undefined;
    session.on("goaway", (code) => {
      told ??= code;
    });
    for (let n = 0; n < cancelled; n += 100) {
      const closed = Array.from({ length: 100 }, () => {
        const stream = session.request({ ":method": "GET", ":path": "/" });
        return new Promise<void>((resolve) => {
          stream.on("error", () => {});
          stream.once("close", resolve);
          stream.once("response", () => stream.close(8));
        });
      });
      await Promise.all(closed);
    }
    await new Promise<void>((resolve, reject) => session.ping((error) => (error === null ? resolve() : reject(error))));
    expect(told).toBeUndefined();
    session.destroy();
  });
} else {
  // Where Node has no option for it, the connection is lost; that must be told as what it is, so that whoever waits tries again.
  it("a connection that is ended for that is UNAVAILABLE to what else runs on it, and the next call has a new one", async () => {
    const { connection, scheduler } = schedulerOf(house);
    const beside = errorOf(scheduler.getLease({ leaseId: "hang" }));
    await giveUp(scheduler, cancelled);
    const { code, rawMessage } = await beside;
    expect([code, rawMessage]).toEqual([Code.Unavailable, "the connection was ended (Session closed with error code 2)"]);
    expect((await scheduler.getLease({ leaseId: "after" })).lease?.id).toBe("after");
    connection.close();
  });
}

it("clients of one program have a connection each: what ends that of one leaves the other alone", async () => {
  const [one, other] = [schedulerOf(house), schedulerOf(house)];
  const abort = new AbortController();
  const beside = errorOf(other.scheduler.getLease({ leaseId: "hang" }, { signal: abort.signal }));
  await giveUp(one.scheduler, cancelled);
  expect((await other.scheduler.getLease({ leaseId: "after" })).lease?.id).toBe("after");
  abort.abort();
  expect((await beside).code).toBe(Code.Canceled);
  one.connection.close();
  other.connection.close();
});
