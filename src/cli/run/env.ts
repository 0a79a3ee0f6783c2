import { randomUUID } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { Command } from "commander";
import { SchedulerService } from "#gen/sluice/v1/scheduler_pb.js";
import type { Lease } from "#gen/sluice/v1/types_pb.js";
import { isLocal, parseAddress } from "../../transport/address.ts";
import { addAddress, addressOf, withServer } from "../connection.ts";
import { granted } from "../describe-work.ts";
import { exitCode } from "../exit-codes.ts";
import { CliError, type CliIo } from "../io.ts";
import type { CliResult } from "../program.ts";
import { age } from "../text.ts";
import { addWorkloadOptions, seconds, type WorkloadOptions, wholeNumber, workloadOf } from "../workload-options.ts";
import { tellNoLease } from "./no-lease.ts";
import { Signals } from "./signals.ts";
import { waitForLease } from "./wait.ts";
import { waitLineOn } from "./wait-line.ts";

interface EnvOptions extends WorkloadOptions {
  readonly timeout?: number;
  readonly ttl?: number;
  readonly policy?: string;
  readonly pid?: number;
}

/** Nobody renews, so it is as long as a lease may live; the end of the shell ends it before. */
const defaultTtlMs = 86_400_000;

const help = `
The lease is the shell's: it is given back when the shell ends, with "sluice release $SLUICE_LEASE_ID", or after --ttl. When nothing is
granted the shell is told so by the status of eval. Through npx, say which shell it is for: --pid $$.

Example:
  eval "$(sluice env --vram 6000)" && python3 train.py`;

/** `eval "$(sluice env …)"` */
export function registerEnv(program: Command, io: CliIo, result: CliResult): void {
  addAddress(addWorkloadOptions(program.command("env")))
    .summary("wait until it fits, then hold it for this shell")
    .description("Waits until there is enough memory, and prints what a shell has to eval to use it.")
    .option("--timeout <S>", "how long to wait, 0 for ever (default: the server's, 300 s)", seconds)
    .option("--policy <NAME>", "policy for this one request (default: the server's, else queue)")
    .option("--ttl <S>", "time to live of the lease, 1 to 86400; nobody renews it (default: 86400)", seconds)
    .option("--pid <PID>", "the process that the lease is for (default: the one that started sluice)", wholeNumber)
    .addHelpText("after", help)
    .exitOverride((error) => {
      if (error.exitCode !== 0) io.out(`(exit ${exitCode.usage})\n`);
      throw error;
    })
    .action(async (options: EnvOptions, command: Command) => {
      const signals = new Signals();
      try {
        const text = await hold(options, addressOf(command, io), signals, io, result);
        // The status of eval is that of the last command in it, and otherwise 0.
        io.out(text ?? `(exit ${result.code})\n`);
      } catch (error) {
        const { explainError } = await import("../explain-error.ts");
        io.out(`(exit ${(await explainError(error, addressOf(command, io))).code})\n`);
        throw error;
      } finally {
        signals.dispose();
      }
    });
}

/** Answers what is to be evaluated; undefined: nothing was granted, and the result says why. */
async function hold(
  options: EnvOptions,
  address: string,
  signals: Signals,
  io: CliIo,
  result: CliResult,
): Promise<string | undefined> {
  const pid = options.pid ?? process.ppid;
  if (options.pid === undefined && io.env.npm_command === "exec") {
    const message = "through npx it cannot be seen which shell the lease is for: add --pid $$";
    throw new CliError(exitCode.usage, message);
  }
  return withServer(address, async (connection) => {
    const scheduler = connection.client(SchedulerService);
    const line = waitLineOn(io);
    const request = {
      workload: workloadOf(options, "shell"),
      requestId: `env-${randomUUID()}`,
      graceMs: 0,
      policy: options.policy ?? "",
      timeoutMs: options.timeout,
      // Not for long yet: should anything end this program before the shell is known, the lease ends soon.
      ttlMs: undefined,
    };
    const outcome = await waitForLease(scheduler, request, line, signals.interrupt).finally(() => line.close());
    if (outcome.kind === "interrupted") {
      result.code = signals.code;
      return undefined;
    }
    if (outcome.kind !== "granted") {
      result.code = tellNoLease(outcome, "", io);
      return undefined;
    }
    const { lease } = outcome;
    const ttlMs = options.ttl ?? defaultTtlMs;
    const giveBack = () => scheduler.releaseLease({ leaseId: lease.id, token: lease.token });
    let isAttached = false;
    try {
      isAttached = isLocal(parseAddress(address)) && (await attach(scheduler, lease, pid));
    } catch (error) {
      await giveBack();
      throw error;
    }
    if (!isThere(pid)) {
      await giveBack();
      throw new CliError(exitCode.failure, `process ${pid} has ended, and the lease was given back`);
    }
    await scheduler.renewLease({ leaseId: lease.id, token: lease.token, ttl: durationFromMs(ttlMs) });
    const until = isAttached ? `when process ${pid} ends` : `after ${age(ttlMs)}`;
    io.err(`sluice: granted ${granted(lease)}; it is given back ${until}, or with \`sluice release ${lease.id}\`\n`);
    return exportsOf(lease);
  });
}

/**
 * Answers whether the server can see the process; in a container it may not.
 * @throws when it works for another lease already: nothing would end this one with it.
 */
async function attach(
  scheduler: Client<typeof SchedulerService>,
  { id: leaseId, token }: Lease,
  pid: number,
): Promise<boolean> {
  try {
    await scheduler.attachProcess({ leaseId, token, pid });
    return true;
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    if (code === Code.NotFound) return false;
    if (code !== Code.AlreadyExists) throw error;
    const message = `${rawMessage}; release that one first (\`sluice leases\`), or ask from a shell of its own (sh -c …)`;
    throw new CliError(exitCode.failure, message);
  }
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's is there too.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** What any shell of POSIX understands. A name that is none is left out: it would be run. */
function exportsOf(lease: Lease): string {
  return Object.entries(lease.env)
    .filter(([name]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'\n`)
    .join("");
}
