import { it } from "vitest";
import { errorOf, openHouse, ways } from "./harness.ts";
it("dbg", async () => {
  const house = await openHouse();
  const { client, close } = ways[0]!.open(house);
  const t0 = performance.now(); const t = (s: string) => process.stderr.write(`${Math.round(performance.now() - t0)} ${s}\n`);
  const stubborn = client.waitForResources({ workload: { name: "stubborn" } })[Symbol.asyncIterator]();
  await stubborn.next();
  t("open");
  const d = house.doors.drain(500, () => house.scheduler.endWaiters()).then(() => t("drained"));
  await errorOf(stubborn.next()).then((e) => t("error " + e.message));
  await d;
  t(house.scheduler.seen.join());
  const t1 = setInterval(() => t(house.scheduler.seen.join()), 500);
  await new Promise((r) => setTimeout(r, 2000)); clearInterval(t1);
  close();
  await house.close();
  t("closed");
});
