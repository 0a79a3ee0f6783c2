import { type Discipline, defaultSettings, disciplines } from "../engine/settings.ts";
import { type LimitsByTenant, tenantLimits } from "./tenant-limits.ts";
import { duration, isAddress, list, type Margin, margin, oneOf, text, type ValueType, whole, yesNo } from "./values.ts";

/** Everything that `sluice serve` can be told. Durations are milliseconds here, whatever unit they are typed in. */
export interface ServeConfig {
  /** Doors for gRPC clients; at least one. */
  readonly grpc: readonly string[];
  /** Door for Connect, gRPC-Web and browsers; "off": none. */
  readonly web: string;
  /** Host names that the web door answers besides those of its own address. */
  readonly webHosts: readonly string[];
  readonly insecure: boolean;
  /** Empty: unset, so that each call does what it is for. A path names a custom policy's module. */
  readonly policy: string;
  /** 0: for ever. */
  readonly timeoutMs: number;
  readonly pollIntervalMs: number;
  readonly plugins: readonly string[];
  readonly allowRegister: boolean;
  /** How long a worker may be idle before it is unloaded; 0: for ever. */
  readonly idleTtlMs: number;
  /** How long a worker stays at least once it is loaded, whoever waits. */
  readonly minResidenceMs: number;
  /** How long a worker may load without any sign of progress. */
  readonly loadStallMs: number;
  /** What measured memory of earlier runs does to what a manifest says; see executor/memory-profile.ts. */
  readonly learnedMemory: "max" | "replace" | "off";
  /** A folder, ":memory:", or empty: the usual place; see house/state-dir.ts. */
  readonly state: string;
  /** Where decisions are recorded for `sluice replay`; empty: nowhere. */
  readonly record: string;
  readonly nvidiaSmi: string;
  /** Empty: the real machine. */
  readonly simulate: string;
  /** Empty: chosen by what the machine has. */
  readonly monitor: string;
  readonly samplePeriodMs: number;
  readonly maxSampleAgeMs: number;
  /** Undefined: the larger of 2 % and 256 MiB. */
  readonly margin: Margin | undefined;
  readonly ramMargin: Margin | undefined;
  readonly whenBlind: "refuse" | "allow";
  readonly maxQueue: number;
  readonly maxQueuePerTenant: number;
  readonly tenantLimits: LimitsByTenant;
  /** Who may be served while an earlier request waits. */
  readonly discipline: Discipline;
  readonly maxOvertakes: number;
  /** 0: what a tenant has used does not count. */
  readonly fairShareHalfLifeMs: number;
  readonly leaseTtlMs: number;
  readonly graceTimeMs: number;
  readonly claimTimeoutMs: number;
  /** How long the holder of an idle lease has to give it back once it was asked to. */
  readonly evictionGraceMs: number;
  readonly drainGraceMs: number;
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "silent";
}

/** One setting. Its flag, environment variable and key in the file all follow from its name. */
export interface Setting<T> {
  readonly name: string;
  readonly type: ValueType<T>;
  readonly default: T;
  /** Shown in --help instead of the default's value. */
  readonly defaultText?: string;
  readonly help: string;
}

const address = 'an address: host:port, [ipv6]:port or unix:/path, such as "127.0.0.1:50051"';
const webAddress = text("ADDR", 'host:port such as "127.0.0.1:8080", or off');

/** The one table of settings, in the order in which they are printed. */
export const settings: { readonly [K in keyof ServeConfig]: Setting<ServeConfig[K]> } = {
  grpc: {
    name: "grpc",
    type: list("ADDR", address, isAddress, 1),
    default: ["127.0.0.1:50051"],
    help: "where gRPC clients connect; may be given more than once, and unix:/path works too",
  },
  web: {
    name: "web",
    type: {
      ...webAddress,
      parse: (raw) =>
        raw === "off" || (typeof raw === "string" && isAddress(raw) && !raw.startsWith("unix:"))
          ? { ok: true, value: raw }
          : { ok: false },
    },
    default: "127.0.0.1:8080",
    help: "where browsers, Connect and gRPC-Web clients connect; off for none",
  },
  webHosts: {
    name: "webHosts",
    type: list("NAME", "a host name such as gpu1.example.org", (item) => /^[\w.:[\]-]{1,253}$/.test(item)),
    default: [],
    help: "further host names that the web door answers, besides its own address and localhost",
  },
  insecure: {
    name: "insecure",
    type: yesNo,
    default: false,
    help: "allow doors that other machines can reach, although nobody is asked who they are",
  },
  policy: {
    name: "policy",
    type: {
      ...text("NAME|FILE", 'permissive, safety, queue, or a module of your own such as "./my-policy.js"', true),
      parse: (raw) =>
        typeof raw === "string" && (["", "permissive", "safety", "queue"].includes(raw) || isPolicyModule(raw))
          ? { ok: true, value: raw }
          : { ok: false },
    },
    default: "",
    defaultText: "unset: each call does what it is for",
    help: "permissive, safety, queue, or the file of a policy of your own (./my-policy.js)",
  },
  timeoutMs: {
    name: "timeout",
    type: duration("s", 0.1, 31_622_400, "for ever"),
    default: 300_000,
    help: "how long a request waits when it does not say; 0 for ever",
  },
  pollIntervalMs: {
    name: "pollInterval",
    type: duration("s", 0.1, 3600),
    default: 2_000,
    help: "how old measurements may be while somebody waits, when a request does not say",
  },
  plugins: {
    name: "plugins",
    type: list("DIR", "a folder", (item) => !item.includes("\0")),
    default: [],
    help: "folder with plugin manifests (*.json); may be given more than once",
  },
  allowRegister: {
    name: "allowRegister",
    type: yesNo,
    default: false,
    help: "let clients add plugins; that lets them run programs",
  },
  idleTtlMs: {
    name: "idleTtl",
    type: duration("s", 0.1, 31_622_400, "for ever"),
    default: 300_000,
    help: "how long a worker may be idle before it is unloaded, when its manifest does not say; 0 for ever",
  },
  minResidenceMs: {
    name: "minResidence",
    type: duration("s", 0, 86_400),
    default: 5_000,
    help: "how long a worker stays at least once it is loaded, whoever waits, when its manifest does not say",
  },
  loadStallMs: {
    name: "loadStall",
    type: duration("s", 0.1, 86_400),
    default: 60_000,
    help: "a worker that loads and shows no progress for so long has failed, when its manifest does not say",
  },
  learnedMemory: {
    name: "learnedMemory",
    type: oneOf("max", "replace", "off"),
    default: "max",
    help: "what measured memory of earlier runs does: max asks for the larger of declared and learned, replace for what was learned, off for what was declared",
  },
  state: {
    name: "state",
    type: text("DIR|:memory:", "the path of a folder, or :memory:", true),
    default: "",
    defaultText: "~/.local/state/sluice",
    help: "folder for what outlives the server: leases, the queue, tokens, what was learned, which workers run; :memory: keeps nothing, which is also the default with --simulate; $STATE_DIRECTORY and $XDG_STATE_HOME move the default",
  },
  record: {
    name: "record",
    type: text("FILE", "the path of a file", true),
    default: "",
    defaultText: "off",
    help: "write every request and decision to this file, for sluice replay",
  },
  nvidiaSmi: {
    name: "nvidiaSmi",
    type: text("PATH", "the name or path of a program"),
    default: "nvidia-smi",
    help: "the nvidia-smi program",
  },
  simulate: {
    name: "simulate",
    type: text("SPEC", 'simulated GPUs such as "2x24576"', true),
    default: "",
    defaultText: "off",
    help: "simulated GPUs instead of real ones, such as 2x24576 for two of 24576 MiB",
  },
  monitor: {
    name: "monitor",
    type: {
      ...text("NAME|ADDR", "sys-mon-nvidia, sys-mon-host, sys-mon-simulated, or the address of a monitor", true),
      parse: (raw) =>
        typeof raw === "string" && (/^(sys-mon-(nvidia|host|simulated))?$/.test(raw) || isAddress(raw))
          ? { ok: true, value: raw }
          : { ok: false },
    },
    default: "",
    defaultText: "chosen by what the machine has",
    help: "what feeds decisions: sys-mon-nvidia, sys-mon-host, sys-mon-simulated, or an address",
  },
  samplePeriodMs: {
    name: "samplePeriod",
    type: duration("ms", 100, 60_000),
    default: 500,
    help: "time between two measurements",
  },
  maxSampleAgeMs: {
    name: "maxSampleAge",
    type: duration("s", 0.5, 600),
    default: 5_000,
    help: "nothing is decided on measurements older than this",
  },
  margin: {
    name: "margin",
    type: margin,
    default: undefined,
    defaultText: "the larger of 2 % and 256 MiB",
    help: "memory kept free on each GPU, in MiB or as a percentage",
  },
  ramMargin: {
    name: "ramMargin",
    type: margin,
    default: undefined,
    defaultText: "the larger of 2 % and 256 MiB",
    help: "host memory kept free, in MiB or as a percentage",
  },
  whenBlind: {
    name: "whenBlind",
    type: oneOf("refuse", "allow"),
    default: "refuse",
    help: "what to do about a GPU whose memory is not known",
  },
  maxQueue: { name: "maxQueue", type: whole(1, 1_000_000), default: 10_000, help: "requests that may wait at the same time" },
  maxQueuePerTenant: {
    name: "maxQueuePerTenant",
    type: whole(1, 1_000_000),
    default: 10_000,
    defaultText: "the same as --max-queue",
    help: "requests of one tenant that may wait at the same time",
  },
  tenantLimits: {
    name: "tenantLimit",
    type: tenantLimits,
    default: defaultSettings.tenantLimits,
    help: "what one tenant may have at a time, NAME:gpus=2,vram=40000,queued=100, or some of these; NAME * is every other tenant; may be given more than once",
  },
  discipline: {
    name: "discipline",
    type: oneOf(...disciplines),
    default: defaultSettings.discipline,
    help: "who is served while an earlier request waits: nobody, whoever fits, or whoever fits and does not delay it",
  },
  maxOvertakes: {
    name: "maxOvertakes",
    type: whole(0, 100_000),
    default: defaultSettings.maxOvertakes,
    help: "how many later requests may be served before one that they delay",
  },
  fairShareHalfLifeMs: {
    name: "fairShareHalfLife",
    type: duration("h", 0.01, 87_600, "to serve tenants by arrival"),
    default: defaultSettings.fairShareHalfLifeMs,
    help: "how long until what a tenant has used counts half; 0: it does not count, tenants are served by arrival",
  },
  leaseTtlMs: {
    name: "leaseTtl",
    type: duration("s", 1, 86_400),
    default: 60_000,
    help: "how long a lease lives without being renewed, when a request does not say",
  },
  graceTimeMs: {
    name: "graceTime",
    type: duration("s", 0, 3600),
    default: 30_000,
    help: "how long a request with a request_id keeps its place while its client is away",
  },
  claimTimeoutMs: {
    name: "claimTimeout",
    type: duration("s", 0.1, 3600),
    default: 30_000,
    help: "how long a lease waits for a client that was away when it was granted",
  },
  evictionGraceMs: {
    name: "evictionGrace",
    type: duration("s", 0, 3600),
    default: 30_000,
    help: "how long the holder of an idle lease has to give it back once somebody who waits needs its memory",
  },
  drainGraceMs: {
    name: "drainGrace",
    type: duration("s", 0, 3600),
    default: 10_000,
    help: "how long calls may go on once the server has been told to stop",
  },
  logLevel: {
    name: "logLevel",
    type: oneOf("trace", "debug", "info", "warn", "error", "silent"),
    default: "info",
    help: "how much is logged",
  },
};

/** Keys of ServeConfig in the order of the table. */
export const settingKeys = Object.keys(settings) as readonly (keyof ServeConfig)[];

/** True for a policy that is a file rather than a name. */
export function isPolicyModule(policy: string): boolean {
  return /\.m?js$/.test(policy) || policy.startsWith("./") || policy.startsWith("/");
}

/** `--max-queue` for maxQueue. */
export function flagOf(setting: { readonly name: string }): string {
  return `--${setting.name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `SLUICE_MAX_QUEUE` for maxQueue. */
export function variableOf(setting: { readonly name: string }): string {
  return `SLUICE_${setting.name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}
