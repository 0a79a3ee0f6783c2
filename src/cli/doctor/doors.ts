import type { ServeConfig } from "../../config/settings.ts";
import { isLocal, parseAddress } from "../../transport/address.ts";
import { type Check, fail, ok } from "./check.ts";
import type { Probes } from "./probes.ts";

/** Whether the doors of the server can be opened. */
export async function checkDoors(
  probes: Probes,
  config: Pick<ServeConfig, "grpc" | "web" | "insecure">,
): Promise<readonly Check[]> {
  const doors = [
    ...config.grpc.map((address) => ({ door: "grpc" as const, address })),
    ...(config.web === "off" ? [] : [{ door: "web" as const, address: config.web }]),
  ];
  return Promise.all(doors.map(({ door, address }) => checkDoor(probes, door, address, config.insecure)));
}

async function checkDoor(probes: Probes, door: "grpc" | "web", address: string, insecure: boolean): Promise<Check> {
  const name = door === "grpc" ? "gRPC door" : "web door";
  if (!insecure && !isLocal(parseAddress(address))) {
    return fail(
      name,
      `${address} can be reached from other machines, and nobody is asked who they are.`,
      "Use 127.0.0.1, [::1] or unix:/path, or allow it with --insecure.",
    );
  }
  const listening = await probes.listen(address);
  if (listening.kind === "free") return ok(name, `${address} is free.`);
  if (listening.kind === "failed")
    return fail(name, `${address} cannot be listened on: ${listening.why}.`, `Choose another with --${door}.`);
  if (await probes.sluiceAnswers(door, address))
    return ok(name, `A sluice server answers at ${address}; \`sluice status\` shows how it is.`);
  return fail(
    name,
    `${address} is in use by something that is not sluice.`,
    `Stop that program, or choose another address with --${door} or SLUICE_${door.toUpperCase()}.`,
  );
}
