import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeConfig } from "../../src/config/describe.ts";
import { ConfigError, type ConfigSources, readConfigFile, resolveConfig } from "../../src/config/resolve.ts";
import { flagOf, type ServeConfig, settingKeys, settings, variableOf } from "../../src/config/settings.ts";
import { defaultSettings, marginOf } from "../../src/engine/settings.ts";
import { engineSettings } from "../../src/house/engine-settings.ts";

const file = (content: unknown) => ({ path: "sluice.json", content });

function problems(sources: ConfigSources): readonly string[] {
  try {
    resolveConfig(sources);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error("expected a ConfigError, and it was accepted");
}

describe("layers", () => {
  it("without anything given, every setting has its default", () => {
    const { config, origins, warnings } = resolveConfig({});
    for (const key of settingKeys) expect(config[key]).toEqual(settings[key].default);
    expect(new Set(Object.values(origins).map((origin) => origin.layer))).toEqual(new Set(["default"]));
    expect(warnings).toEqual([]);
  });

  it("a flag beats the environment, which beats the file, which beats the default; each value knows where it is from", () => {
    const layers = {
      file: file({ timeout: 1, leaseTtl: 11, maxQueue: 21 }),
      env: { SLUICE_TIMEOUT: "2", SLUICE_LEASE_TTL: "12" },
      flags: { timeout: "3" },
    };
    const { config, origins } = resolveConfig(layers);
    expect([config.timeoutMs, config.leaseTtlMs, config.maxQueue, config.maxOvertakes]).toEqual([
      3_000,
      12_000,
      21,
      defaultSettings.maxOvertakes,
    ]);
    expect([origins.timeoutMs, origins.leaseTtlMs, origins.maxQueue, origins.maxOvertakes]).toEqual([
      { layer: "flag", name: "--timeout" },
      { layer: "environment", name: "SLUICE_LEASE_TTL" },
      { layer: "file", name: "maxQueue" },
      { layer: "default" },
    ]);
  });

  it("an empty variable of the environment counts as not set", () => {
    expect(resolveConfig({ env: { SLUICE_TIMEOUT: "" }, file: file({ timeout: 7 }) }).config.timeoutMs).toBe(7_000);
  });

  it("a list may be a JSON array, a repeated flag, or one text with commas", () => {
    const want = ["127.0.0.1:1", "unix:/run/sluice.sock"];
    expect(resolveConfig({ file: file({ grpc: want }) }).config.grpc).toEqual(want);
    expect(resolveConfig({ flags: { grpc: want } }).config.grpc).toEqual(want);
    expect(resolveConfig({ env: { SLUICE_GRPC: want.join(", ") } }).config.grpc).toEqual(want);
  });

  it("a tenant may fill the whole queue unless it is told otherwise", () => {
    expect(resolveConfig({ flags: { maxQueue: "50" } }).config.maxQueuePerTenant).toBe(50);
    expect(resolveConfig({ flags: { maxQueue: "50", maxQueuePerTenant: "5" } }).config.maxQueuePerTenant).toBe(5);
  });

  it("a switch can be turned off again by a stronger layer", () => {
    expect(resolveConfig({ file: file({ insecure: true }), flags: { insecure: "no" } }).config.insecure).toBe(false);
    expect(resolveConfig({ env: { SLUICE_ALLOW_REGISTER: "1" } }).config.allowRegister).toBe(true);
  });
});

describe("bad values", () => {
  it("each is named with its flag, variable or key, with what was given and what is allowed, all at once", () => {
    const found = problems({
      file: file({ maxQueue: "many" }),
      env: { SLUICE_WHEN_BLIND: "maybe" },
      flags: { timeout: "soon" },
    });
    expect(found).toHaveLength(3);
    expect(found).toContain(
      '--timeout: "soon" is not allowed; it must be a number of seconds from 0.1 to 31622400, or 0 for ever',
    );
    expect(found).toContain('SLUICE_WHEN_BLIND: "maybe" is not allowed; it must be one of refuse, allow');
    expect(found).toContain('maxQueue in sluice.json: "many" is not allowed; it must be a whole number from 1 to 1000000');
  });

  it("a bad value is an error even where a stronger layer overrides it", () => {
    expect(problems({ env: { SLUICE_TIMEOUT: "x" }, flags: { timeout: "3" } })[0]).toContain("SLUICE_TIMEOUT");
  });

  it("a key that is no setting is named, with the one that was probably meant", () => {
    expect(problems({ file: file({ maxQueu: 5 }) })).toEqual([
      "maxQueu in sluice.json: there is no such setting; did you mean maxQueue?",
    ]);
    expect(problems({ file: file({ banana: 5 }) })[0]).toContain("`sluice config` lists them all");
  });

  it("state is :memory: or a folder, and empty for the usual one", () => {
    expect(resolveConfig({}).config.state).toBe("");
    for (const good of ["", ":memory:", "/var/lib/sluice", "state", "./a b"]) {
      expect(resolveConfig({ flags: { state: good } }).config.state).toBe(good);
    }
    for (const bad of ["a\0b", "a\nb", "x".repeat(4097), 7, null]) {
      expect(problems({ file: file({ state: bad }) })[0]).toContain("it must be the path of a folder, or :memory:");
    }
  });

  it("a door must be an address", () => {
    for (const bad of ["50051", "localhost", "127.0.0.1:70000", "", "http://127.0.0.1:1"]) {
      expect(problems({ flags: { grpc: [bad] } })[0]).toMatch(/^--grpc/);
    }
    expect(problems({ file: file({ grpc: [] }) })[0]).toMatch(/^grpc in sluice.json/);
    expect(problems({ flags: { web: "unix:/x" } })[0]).toMatch(/^--web/);
    expect(resolveConfig({ flags: { web: "off" } }).config.web).toBe("off");
  });

  it("a policy is one of three, or looks like a file", () => {
    for (const good of ["", "permissive", "safety", "queue", "./mine.js", "/etc/p", "policy.mjs"]) {
      expect(resolveConfig({ flags: { policy: good } }).config.policy).toBe(good);
    }
    expect(problems({ flags: { policy: "safty" } })[0]).toContain("permissive, safety, queue");
  });

  const ranges: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ["timeout", ["0", "0.1", "300"], ["-1", "0.05", "1e3", "NaN", "Infinity", "5s"]],
    ["pollInterval", ["0.1", "3600"], ["0", "0.09", "3601"]],
    ["samplePeriod", ["100", "60000"], ["99", "60001"]],
    ["maxSampleAge", ["0.5", "600"], ["0", "0.4", "601"]],
    ["maxQueue", ["1", "1000000"], ["0", "1000001", "1.5"]],
    ["maxOvertakes", ["0", "100000"], ["-1", "100001"]],
    ["discipline", ["strict-fifo", "best-effort", "backfill"], ["", "fifo", "Backfill"]],
    ["fairShareHalfLife", ["0", "0.01", "168", "87600"], ["-1", "0.009", "87601", "7d"]],
    ["leaseTtl", ["1", "86400"], ["0", "0.5", "86401"]],
    ["graceTime", ["0", "3600"], ["3601"]],
    ["idleTtl", ["0", "0.1", "31622400"], ["-1", "0.05", "31622401", "5m"]],
    ["minResidence", ["0", "2.5", "86400"], ["-1", "86401"]],
    ["loadStall", ["0.1", "86400"], ["0", "0.05", "86401"]],
    ["evictionGrace", ["0", "3600"], ["-1", "3601"]],
    ["learnedMemory", ["max", "replace", "off"], ["", "Max", "yes"]],
    ["margin", ["0", "512", "3%", "2.5%", "90%"], ["-1", "91%", "x", "1.5", "%"]],
    ["ramMargin", ["1024", "10%"], ["ten"]],
  ];
  for (const [name, good, bad] of ranges) {
    it(`${name} takes ${good.join(", ")} and not ${bad.join(", ")}`, () => {
      for (const value of good) expect(() => resolveConfig({ flags: { [name]: value } }), value).not.toThrow();
      for (const value of bad) expect(() => resolveConfig({ flags: { [name]: value } }), value).toThrow(ConfigError);
    });
  }

  it("an object that cannot be made a text is refused like any other, by every setting", () => {
    // Guards: a switch made a text of whatever the file held, and JSON can hold an object whose toString is null.
    for (const { name } of settingKeys.map((key) => settings[key])) {
      const found = problems({ file: file({ [name]: { toString: null } }) });
      expect(found, name).toHaveLength(1);
      expect(found[0]).toContain(`${name} in sluice.json: `);
    }
    // What only looks like a yes once it is made a text is none either.
    expect(problems({ file: file({ insecure: ["yes"] }) })[0]).toContain("it must be yes or no");
    expect(resolveConfig({ file: file({ insecure: 1 }) }).config.insecure).toBe(true);
  });

  it("whatever a file holds, it is accepted or refused with sentences, and nothing else is thrown", () => {
    const anyFile = fc.dictionary(fc.constantFrom(...settingKeys.map((key) => settings[key].name), "other"), fc.jsonValue());
    fc.assert(
      fc.property(anyFile, (content) => {
        try {
          const { config } = resolveConfig({ file: file(content) });
          return config.timeoutMs >= 0 && config.grpc.length > 0 && config.maxQueue >= 1;
        } catch (error) {
          return error instanceof ConfigError && error.problems.every((problem) => problem.length > 20);
        }
      }),
    );
  });
});

describe("warnings", () => {
  it("a variable that looks misspelt is named, and those that sluice gives to jobs are not", () => {
    const { warnings } = resolveConfig({
      env: {
        SLUICE_TIMOUT: "5",
        SLUICE_LEASE_ID: "l",
        SLUICE_LEASE_TOKEN: "1",
        SLUICE_ADDRESS: "x",
        SLUICE_COLOUR_OF_THE_HOUSE: "red",
      },
    });
    expect(warnings).toEqual([
      "the environment sets SLUICE_TIMOUT, which means nothing to sluice; did you mean SLUICE_TIMEOUT?",
    ]);
  });

  it("measurements that are always too old are pointed out", () => {
    expect(resolveConfig({ flags: { samplePeriod: "1000", maxSampleAge: "1" } }).warnings[0]).toContain("--max-sample-age");
  });
});

describe("workers", () => {
  it("have five minutes of idleness, five seconds to stay, a minute to load on, and learned memory unless it is set", () => {
    const { idleTtlMs, minResidenceMs, loadStallMs, evictionGraceMs, learnedMemory } = resolveConfig({}).config;
    expect({ idleTtlMs, minResidenceMs, loadStallMs, evictionGraceMs, learnedMemory }).toEqual({
      idleTtlMs: 300_000,
      minResidenceMs: 5_000,
      loadStallMs: 60_000,
      evictionGraceMs: 30_000,
      learnedMemory: "max",
    });
  });

  it("are set in every layer", () => {
    const { config } = resolveConfig({
      file: file({ idleTtl: 0, learnedMemory: "replace", state: "/var/lib/sluice" }),
      env: { SLUICE_MIN_RESIDENCE: "0", SLUICE_LOAD_STALL: "2.5" },
      flags: { evictionGrace: "7", learnedMemory: "off" },
    });
    expect(config).toMatchObject({
      idleTtlMs: 0,
      minResidenceMs: 0,
      loadStallMs: 2_500,
      evictionGraceMs: 7_000,
      learnedMemory: "off",
      state: "/var/lib/sluice",
    });
  });
});

describe("the order of the queue", () => {
  it("is the engine's own unless it is set", () => {
    const engine = engineSettings(resolveConfig({}).config, 0);
    const { discipline, fairShareHalfLifeMs, tenantLimits, maxOvertakes } = defaultSettings;
    expect(engine).toMatchObject({ discipline, fairShareHalfLifeMs, maxOvertakes });
    expect(engine.tenantLimits).toEqual(tenantLimits);
    expect([discipline, fairShareHalfLifeMs]).toEqual(["backfill", 7 * 86_400_000]);
  });

  it("reaches the engine from every layer", () => {
    const { config } = resolveConfig({
      file: file({ discipline: "best-effort", tenantLimit: ["a:gpus=1"] }),
      env: { SLUICE_FAIR_SHARE_HALF_LIFE: "0.5", SLUICE_DISCIPLINE: "strict-fifo" },
      flags: { tenantLimit: ["vision:gpus=2,vram=40000,queued=100", "*:queued=3"] },
    });
    const engine = engineSettings(config, 0);
    expect(engine).toMatchObject({ discipline: "strict-fifo", fairShareHalfLifeMs: 1_800_000 });
    expect(engine.tenantLimits).toEqual(
      new Map([
        ["vision", { gpus: 2, vramMb: 40_000, queued: 100 }],
        ["*", { queued: 3 }],
      ]),
    );
  });

  it("limits of tenants are a JSON array, a repeated flag, or one text with semicolons", () => {
    const want = new Map([
      ["vision", { gpus: 0, vramMb: 40_000 }],
      ["*", { queued: 3 }],
    ]);
    const items = ["vision:gpus=0,vram=40000", "*:queued=3"];
    expect(resolveConfig({ file: file({ tenantLimit: items }) }).config.tenantLimits).toEqual(want);
    expect(resolveConfig({ flags: { tenantLimit: items } }).config.tenantLimits).toEqual(want);
    expect(resolveConfig({ env: { SLUICE_TENANT_LIMIT: items.join("; ") } }).config.tenantLimits).toEqual(want);
    expect(resolveConfig({ file: file({ tenantLimit: [] }) }).config.tenantLimits.size).toBe(0);
  });

  it("the name of a tenant may have colons, commas and equals signs in it: limits begin after the last colon", () => {
    const { tenantLimits } = resolveConfig({ flags: { tenantLimit: ["urn:lab,a=b:gpus=1", "€ team : queued = 2"] } }).config;
    expect([...tenantLimits]).toEqual([
      ["urn:lab,a=b", { gpus: 1 }],
      ["€ team ", { queued: 2 }],
    ]);
  });

  const wrong: readonly (readonly [unknown, string])[] = [
    [["gpus=2"], "has no name"],
    [[""], "has no name"],
    [[":gpus=2"], "must begin with a tenant's name"],
    [["a\nb:gpus=2"], "must begin with a tenant's name"],
    [[`${"€".repeat(43)}:gpus=2`], "must begin with a tenant's name of 1 to 128 bytes"],
    [["a:"], "is none of gpus=N, vram=MIB and queued=N"],
    [["a:gpu=2"], '"gpu=2" in it is none of gpus=N'],
    [["a:gpus=2,"], "is none of"],
    [["a:gpus"], "is none of"],
    [["a:gpus=1=2"], "is none of"],
    [["a:gpus=1,gpus=2"], "gpus is in it twice"],
    [["a:gpus=-1"], "gpus must be a whole number from 0 to 1000000"],
    [["a:gpus=1.5"], "gpus must be a whole number"],
    [["a:gpus=1e3"], "gpus must be a whole number"],
    [["a:vram=1073741825"], "vram must be a whole number from 0 to 1073741824"],
    [["a:queued="], "queued must be a whole number"],
    [["a:gpus=1", "a:queued=1"], "tenant a has limits already"],
    ["a:gpus=1;", "has no name"],
    [["a:constructor=1"], "is none of"],
    [7, "it must be limits such as"],
    [[7], "it must be limits such as"],
    [{ a: { gpus: 1 } }, "it must be limits such as"],
  ];
  it.each(wrong)("limits of tenants are never %j", (value, why) => {
    const found = problems({ file: file({ tenantLimit: value }) });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^tenantLimit in sluice\.json: /);
    expect(found[0]).toContain(why);
    expect(found[0]?.length).toBeLessThan(300);
  });

  it("limits that are printed mean the same when they are read", () => {
    const name = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
      .filter((n) => Buffer.byteLength(n) <= 128 && !/[\p{Cc}\u2028\u2029]/u.test(n));
    const limit = fc.integer({ min: 0, max: 1_000_000 });
    const limits = fc
      .record({ gpus: limit, vramMb: limit, queued: limit }, { requiredKeys: [] })
      .filter((l) => Object.keys(l).length > 0);
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(name, limits), { selector: ([n]) => n, maxLength: 5 }), (entries) => {
        const written = settings.tenantLimits.type.toJson(new Map(entries));
        expect(resolveConfig({ file: file({ tenantLimit: written }) }).config.tenantLimits).toEqual(new Map(entries));
      }),
    );
  });
});

describe("the margin", () => {
  it("is the larger of 2 % and 256 MiB unless it is set", () => {
    const margin = (config: ServeConfig, totalMb: number) => marginOf(engineSettings(config, 0).margin, totalMb);
    const usual = resolveConfig({}).config;
    expect([margin(usual, 24_564), margin(usual, 8_192)]).toEqual([492, 256]);
    expect(margin(resolveConfig({ flags: { margin: "3%" } }).config, 10_000)).toBe(300);
    expect(margin(resolveConfig({ file: file({ margin: 100 }) }).config, 10_000)).toBe(100);
    expect(engineSettings(resolveConfig({ flags: { ramMargin: "500" } }).config, 0).ramMargin).toEqual({
      percent: 0,
      atLeastMb: 500,
    });
  });
});

describe("the printout", () => {
  it("what is printed as JSON can be put into a file and means the same", () => {
    const resolved = resolveConfig({
      flags: {
        grpc: ["[::1]:5"],
        margin: "3%",
        ramMargin: "77",
        timeout: "0.5",
        insecure: true,
        policy: "queue",
        tenantLimit: ["vision:gpus=2,queued=7", "*:vram=5"],
        fairShareHalfLife: "0.5",
        discipline: "strict-fifo",
        idleTtl: "0.5",
        evictionGrace: "0",
        learnedMemory: "replace",
        state: "/var/lib/sluice",
      },
    });
    const content = Object.fromEntries(describeConfig(resolved).map(({ name, value }) => [name, value]));
    expect(resolveConfig({ file: file(content) }).config).toEqual(resolved.config);
  });

  it("names of flags and variables follow from the name of the setting", () => {
    expect(flagOf(settings.maxQueuePerTenant)).toBe("--max-queue-per-tenant");
    expect(variableOf(settings.maxQueuePerTenant)).toBe("SLUICE_MAX_QUEUE_PER_TENANT");
  });
});

describe("configuration files", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-config-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("a file that is missing, is not JSON or holds no object is named", () => {
    expect(() => readConfigFile(join(folder, "none.json"))).toThrow(/none\.json cannot be read/);
    writeFileSync(join(folder, "bad.json"), "{policy: queue}");
    expect(() => readConfigFile(join(folder, "bad.json"))).toThrow(/bad\.json is not valid JSON/);
    writeFileSync(join(folder, "list.json"), "[]");
    expect(problems({ file: readConfigFile(join(folder, "list.json")) })[0]).toContain("must hold one JSON object");
  });
});
