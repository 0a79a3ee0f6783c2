import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { Children } from "../../../src/monitor/nvidia/child.ts";
import { OneShots } from "../../../src/monitor/nvidia/one-shot.ts";
import { troubleOf } from "../../../src/monitor/nvidia/trouble.ts";
import { waitFor } from "../../wait-for.ts";

const dir = mkdtempSync(join(tmpdir(), "children-"));
const owners: Children[] = [];
afterEach(async () => {
  for (const owner of owners.splice(0)) await owner.endAll(3000);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function script(name: string, text: string): string {
  const file = join(dir, name);
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

function owner(path: string, graceMs = 200, kind = Children): Children {
  const children = new kind(path, graceMs);
  owners.push(children);
  return children;
}

const question = { args: [], timeoutMs: 5000, maxBytes: 1 << 20 };

describe("questions", () => {
  it("are answered with the exit code and everything that was printed", async () => {
    const shots = new OneShots(owner(script("six", "echo No devices were found; exit 6")));
    expect(await shots.ask(question)).toEqual({ kind: "ended", end: { code: 6 }, text: "No devices were found\n" });
  });

  it("are given up when the program is missing or is no program", async () => {
    const none = new OneShots(owner(join(dir, "none")));
    expect(await none.ask(question)).toMatchObject({ end: { startError: "ENOENT" } });
    const text = join(dir, "text");
    writeFileSync(text, "not a program");
    expect(await new OneShots(owner(text)).ask(question)).toMatchObject({ end: { startError: "EACCES" } });
    expect(await new OneShots(owner("")).ask(question)).toMatchObject({ end: { startError: expect.any(String) } });
  });

  it("are asked with a fixed environment", async () => {
    process.env.SLUICE_TEST_SECRET = "secret";
    const shots = new OneShots(owner(script("env", "env")));
    const answer = await shots.ask(question);
    delete process.env.SLUICE_TEST_SECRET;
    if (answer.kind !== "ended") throw new Error(answer.kind);
    expect(answer.text).toMatch(/^TZ=UTC$/m);
    expect(answer.text).toMatch(/^LC_ALL=C$/m);
    expect(answer.text).toMatch(/^PATH=/m);
    expect(answer.text).not.toContain("secret");
  });

  it("are asked one after the other", async () => {
    const children = owner(script("slow", "sleep 0.1"));
    const shots = new OneShots(children);
    let most = 0;
    const timer = setInterval(() => {
      most = Math.max(most, children.count);
    }, 5);
    await Promise.all([shots.ask(question), shots.ask(question), shots.ask(question)]);
    clearInterval(timer);
    expect(most).toBe(1);
  });

  it("end a program that says too much, and remember none of it", async () => {
    const children = owner(script("yes", "exec yes"));
    const answer = await new OneShots(children).ask({ ...question, maxBytes: 100_000 });
    expect(answer).toEqual({ kind: "overflow", bytes: 100_000 });
    await waitFor(() => children.count === 0, "its end");
  });

  it("end what a wrapper script has started, too", async () => {
    const children = owner(script("wrapper", "sleep 60\necho never"));
    expect(await new OneShots(children).ask({ ...question, timeoutMs: 50 })).toEqual({ kind: "timeout", afterMs: 50 });
    await waitFor(() => children.count === 0, "its end", 2000);
  });

  it("do not wait for somebody who holds the pipe open", async () => {
    const shots = new OneShots(owner(script("leaves", "sleep 5 &\necho done")));
    const began = performance.now();
    expect(await shots.ask(question)).toMatchObject({ end: { code: 0 }, text: "done\n" });
    expect(performance.now() - began).toBeLessThan(3000);
  });
});

describe("a child that does not end", () => {
  const stubborn = script("stubborn", "trap '' TERM\necho ready\nwhile :; do sleep 0.05; done");

  // Guards against filling the machine with processes that no signal reaches, one more for each try.
  it("bars all others until it is gone, and says so", async () => {
    class Impatient extends Children {
      override get reapMs(): number {
        return 50;
      }
    }
    const children = owner(stubborn, 1000, Impatient);
    const shots = new OneShots(children);
    let ready = false;
    const first = children.spawn([], () => {
      ready = true;
    });
    await waitFor(() => ready, "the trap");
    first?.end();
    expect(children.spawn([], () => {})).toBeUndefined();
    const answer = await shots.ask(question);
    expect(answer).toEqual({ kind: "barred", pid: first?.pid });
    expect(troubleOf(answer, "nvidia-smi")).toContain(`pid ${first?.pid}`);
    expect(children.count).toBe(1);
    expect(await first?.ended).toEqual({ signal: "SIGKILL" });
    expect(await shots.ask({ ...question, timeoutMs: 50 })).toEqual({ kind: "timeout", afterMs: 50 });
  });

  it("is waited for a little before the next question, so that an ordinary end bars nothing", async () => {
    const children = owner(stubborn, 100);
    const shots = new OneShots(children);
    expect(await shots.ask({ ...question, timeoutMs: 50 })).toMatchObject({ kind: "timeout" });
    expect(await shots.ask({ ...question, timeoutMs: 50 })).toMatchObject({ kind: "timeout" });
  });

  it("is ended for good, with a bound, and nothing is started after that", async () => {
    const children = owner(stubborn, 60_000);
    let ready = false;
    const child = children.spawn([], () => {
      ready = true;
    });
    await waitFor(() => ready, "the trap");
    const began = performance.now();
    await children.endAll(100);
    expect(performance.now() - began).toBeLessThan(2000);
    expect(children.spawn([], () => {})).toBeUndefined();
    process.kill(-(child?.pid as number), "SIGKILL");
    await child?.ended;
  });
});
