import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseComputeApps } from "../../../src/monitor/nvidia/compute-apps.ts";
import { isUuid, mibOf, numberOf, splitRow, timestampOf, wordOf } from "../../../src/monitor/nvidia/csv-row.ts";
import { coreQuery, type GpuRow, parseGpuRow, parseGpuRows, streamQuery } from "../../../src/monitor/nvidia/gpu-row.ts";
import { isUnified, judge } from "../../../src/monitor/nvidia/judgement.ts";
import { parseListing, samePciBusId } from "../../../src/monitor/nvidia/listing.ts";
import { migDevicesOf } from "../../../src/monitor/nvidia/mig.ts";
import { parseQueryXml } from "../../../src/monitor/nvidia/query-xml.ts";
import { troubleOf } from "../../../src/monitor/nvidia/trouble.ts";

const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}`, import.meta.url), "utf8");
const uuid = "GPU-aaaaaaaa-0000-4000-8000-000000000001";
const stream = streamQuery(new Set());
const core = coreQuery(new Set());

describe("cells", () => {
  it("are never numbers when they are words", () => {
    for (const word of [
      "[N/A]",
      "N/A",
      "[GPU is lost]",
      "[Unknown Error]",
      "[Something new in 2030]",
      "ERR!",
      "",
      "None",
      "[]",
    ]) {
      expect(wordOf(word), word).toBeDefined();
      expect(numberOf(word), word).toBeUndefined();
    }
    for (const junk of ["1e5", "0x10", "Infinity", "NaN", "1 GiB", "--1", "1.2.3", " ", "12345678901234"])
      expect(numberOf(junk), junk).toBeUndefined();
  });

  it("are numbers with and without their unit", () => {
    expect([numberOf("8192 MiB"), numberOf("0 %"), numberOf("39.32 W"), numberOf("33")]).toEqual([8192, 0, 39.32, 33]);
    expect([mibOf("0"), mibOf("-1"), mibOf("1.5")]).toEqual([0, undefined, undefined]);
  });

  it("know both eras of MIG ids", () => {
    for (const good of [uuid, "MIG-aaaaaaaa-0000-4000-8000-000000000001", `MIG-${uuid}/7/0`])
      expect(isUuid(good), good).toBe(true);
    for (const bad of ["", "GPU-", "GPU-xyz", `${uuid} `, "[GPU is lost]", `MIG-${uuid}`]) expect(isUuid(bad), bad).toBe(false);
  });

  it("read time stamps as UTC", () => {
    expect(timestampOf("2026/11/23 22:26:45.574")).toBe(Date.UTC(2026, 10, 23, 22, 26, 45, 574));
    expect(timestampOf("Mon Nov 23 22:27:11 2026")).toBeUndefined();
  });

  it("keep the commas of a free-text column that stands last, and reject other rows that are too long", () => {
    expect(splitRow("1, a, b, c", 2, true)).toEqual(["1", "a, b, c"]);
    expect(splitRow("1, a, b, c", 2)).toBeUndefined();
    expect(splitRow("1", 2, true)).toBeUndefined();
  });
});

describe("rows", () => {
  const line = `2026/01/05 10:00:00.000, 0, ${uuid}, 24564, 346, 1000, 23218, 7, 41, 38.50, Default, [N/A]`;

  it("are read by position", () => {
    expect(parseGpuRow(line, stream)).toEqual({
      wallMs: Date.UTC(2026, 0, 5, 10),
      index: 0,
      uuid,
      totalMb: 24564,
      reservedMb: 346,
      usedMb: 1000,
      freeMb: 23218,
      loadPercent: 7,
      temperatureC: 41,
      powerW: 38.5,
      computeMode: "Default",
      words: { "mig.mode.current": "N/A" },
    });
  });

  it("are no rows when they are cut, merged or about something else", () => {
    for (let end = 0; end < line.lastIndexOf(","); end++)
      expect(parseGpuRow(line.slice(0, end), stream), line.slice(0, end)).toBeUndefined();
    expect(parseGpuRow(line.slice(0, 60) + line, stream)).toBeUndefined();
    expect(parseGpuRow("timestamp, index, uuid, memory.total [MiB], a, b, c, d, e, f, g, h", stream)).toBeUndefined();
    expect(parseGpuRow("No devices were found", stream)).toBeUndefined();
  });

  it("that lack their newline do not count", () => {
    const text = `1, 0, ${uuid}, 00000000:01:00.0, 24564, 346, 0, 24218, [N/A], [N/A], Default, 0, 41, 38.50, 550.1, NVIDIA A, B`;
    expect(parseGpuRows(text, core).rows).toEqual([]);
    expect(parseGpuRows(`${text}\n`, core).rows).toMatchObject([
      { name: "NVIDIA A, B", driverVersion: "550.1", pciBusId: "00000000:01:00.0" },
    ]);
    expect(parseGpuRows(`Warning: something\n${text}\n`, core)).toMatchObject({ rejected: 1, rows: [{ uuid }] });
  });

  it("tell which GPU is lost by words in place of everything", () => {
    const row = parseGpuRow(`2026/01/05 10:00:00.000${", [GPU is lost]".repeat(11)}`, stream) as GpuRow;
    expect(row.uuid).toBeUndefined();
    expect(judge(row, false)).toMatchObject({ health: "lost", message: expect.stringContaining("GPU is lost") });
  });
});

describe("the judgement", () => {
  const well: GpuRow = {
    uuid,
    index: 0,
    name: "NVIDIA A",
    totalMb: 1000,
    usedMb: 100,
    freeMb: 880,
    reservedMb: 20,
    temperatureC: 40,
    words: {},
  };

  it("is ok only when uuid, total, used and free are there and possible", () => {
    expect(judge(well, false).health).toBe("ok");
    for (const missing of ["uuid", "totalMb", "usedMb", "freeMb"] as const) {
      const { [missing]: _, ...rest } = well;
      expect(judge(rest, false).health, missing).toBe("degraded");
    }
    for (const wrong of [{ totalMb: 0 }, { usedMb: 1001 }, { freeMb: 1001 }, { freeMb: 905 }])
      expect(judge({ ...well, ...wrong }, false).health).toBe("degraded");
  });

  it("allows each figure its rounding", () => {
    expect(judge({ ...well, freeMb: 882 }, false).health).toBe("ok");
  });

  it("does not let a broken card pass as an empty one", () => {
    expect(judge({ ...well, usedMb: 0, freeMb: 980, words: { "temperature.gpu": "ERR!" } }, false).health).toBe("degraded");
    expect(judge({ ...well, usedMb: 0, freeMb: 980, words: { name: "Unknown Error" } }, false).health).toBe("degraded");
  });

  it("lets parts pass that have no thermometer, as in a virtual machine", () => {
    expect(judge({ ...well, words: { "temperature.gpu": "N/A", "power.draw": "N/A" } }, false).health).toBe("ok");
  });

  it("knows parts that share the host's memory, by name or by address space", () => {
    const absent = { "memory.total": "N/A" };
    expect(isUnified({ name: "NVIDIA GB10", words: absent })).toBe(true);
    expect(isUnified({ name: "NVIDIA N1X", words: {} })).toBe(true);
    expect(isUnified({ name: "Orin (nvgpu)", words: absent })).toBe(true);
    expect(isUnified({ name: "NVIDIA something", addressingMode: "ATS", words: absent })).toBe(true);
    // GH200 has the host's address space and memory of its own.
    expect(isUnified({ name: "NVIDIA GH200 480GB", addressingMode: "ATS", words: {} })).toBe(false);
    expect(isUnified({ name: "NVIDIA GeForce RTX 4090", words: absent })).toBe(false);
  });
});

describe("the listing", () => {
  it("has GPUs, MIG devices, and the sentence of the one that cannot be opened", () => {
    const { gpus, unreadable } = parseListing(fixture("mig-listing.txt"));
    expect(gpus.map((gpu) => [gpu.index, gpu.uuid.at(-1), gpu.devices.length])).toEqual([
      [0, "1", 3],
      [2, "3", 0],
    ]);
    expect(gpus[0]?.devices[2]).toEqual({ deviceIndex: 2, profile: "1g.18gb", uuid: `MIG-${uuid}/9/0` });
    expect(unreadable).toEqual([
      {
        index: 1,
        pciBusId: "0000:84:00.0",
        sentence:
          "Unable to determine the device handle for gpu 0000:84:00.0: GPU is lost.  Reboot the system to recover this GPU",
      },
    ]);
  });

  it("is empty where there is no GPU", () => {
    expect(parseListing("No devices found.\n")).toEqual({ gpus: [], unreadable: [] });
  });

  it("names the same PCI place with four and with eight digits", () => {
    expect(samePciBusId("0000:4E:00.0", "00000000:4e:00.0")).toBe(true);
    expect(samePciBusId("0000:4E:00.0", "0000000F:4e:00.0")).toBe(false);
  });
});

describe("the XML", () => {
  it("has MIG devices and the processes on them", () => {
    const log = parseQueryXml(fixture("mig-two-gpus.xml"));
    expect(log).toMatchObject({ driverVersion: "590.48.01", complete: true });
    expect(log.gpus.map((gpu) => [gpu.uuid.at(-1), gpu.migCurrent, gpu.devices.length, gpu.memory.freeMb])).toEqual([
      ["1", "Enabled", 3, 126_197],
      ["2", "Disabled", 0, 143_158],
    ]);
    expect(log.gpus[0]?.loadPercent).toBeUndefined();
    expect(log.gpus[0]?.processes).toEqual([
      { pid: 4711, name: "/opt/a & b/python3", usedMb: 16_890, gpuInstanceId: 2, computeInstanceId: 1 },
    ]);
    expect(log.gpus[1]).toMatchObject({ computeMode: "Exclusive_Process", temperatureC: 30, processes: [] });
  });

  it("counts only whole GPUs when it breaks off, wherever that is", () => {
    const text = fixture("mig-two-gpus.xml").trimEnd();
    const ends = [...text.matchAll(/<\/gpu>/g)].map((match) => match.index + "</gpu>".length);
    for (let end = 0; end < text.length; end += 7) {
      const log = parseQueryXml(text.slice(0, end));
      expect(log.complete).toBe(false);
      expect(log.gpus.length).toBe(ends.filter((whole) => whole <= end).length);
    }
  });

  it("joins with the listing, and shares one pool between the compute instances of a GPU instance", () => {
    const gpu = parseQueryXml(fixture("mig-two-gpus.xml")).gpus[0];
    if (!gpu) throw new Error("no GPU in the fixture");
    const { devices, stale } = migDevicesOf(gpu, parseListing(fixture("mig-listing.txt")));
    expect(stale).toBe(false);
    expect(devices.map((device) => [device.uuid, device.name, device.poolId])).toEqual([
      ["MIG-aaaaaaaa-0000-4000-8000-0000000000a0", "NVIDIA H200 MIG 1c.3g.71gb", `${uuid}/gi2`],
      ["MIG-aaaaaaaa-0000-4000-8000-0000000000a1", "NVIDIA H200 MIG 1c.3g.71gb", `${uuid}/gi2`],
      [`MIG-${uuid}/9/0`, "NVIDIA H200 MIG 1g.18gb", `${uuid}/gi9`],
    ]);
    expect(migDevicesOf(gpu, undefined)).toEqual({ devices: [], stale: true });
  });
});

describe("the process list", () => {
  it("has figures, names with anything in them, and says what it is not told", () => {
    const text = [
      `${uuid}, 1234, 1024, /opt/my app/python3? worker "x"`,
      `${uuid}, 88, 0, é, ü`,
      `${uuid}, 77, [N/A], `,
      `${uuid}, 66, 5, [Not Found]`,
      "GPU-bbbbbbbb, [Insufficient Permissions], [Insufficient Permissions], [Insufficient Permissions]",
      "No devices were found",
      "",
    ].join("\n");
    const { list, incomplete, rejected } = parseComputeApps(text);
    expect(list).toEqual([
      { gpuUuid: uuid, pid: 1234, usedMb: 1024, name: '/opt/my app/python3? worker "x"', nameless: false },
      { gpuUuid: uuid, pid: 88, usedMb: 0, name: "é, ü", nameless: false },
      { gpuUuid: uuid, pid: 77, name: "", nameless: false },
      { gpuUuid: uuid, pid: 66, usedMb: 5, name: "[Not Found]", nameless: true },
    ]);
    expect([...incomplete]).toEqual(["GPU-bbbbbbbb"]);
    expect(rejected).toBe(1);
  });

  it("does not trust a list that was cut off", () => {
    expect(parseComputeApps(`${uuid}, 1234, 10`)).toMatchObject({ list: [], rejected: 1 });
    expect(parseComputeApps("")).toMatchObject({ list: [], rejected: 0 });
  });
});

describe("sentences", () => {
  const say = (code: number, text = "") => troubleOf({ kind: "ended", end: { code }, text }, "nvidia-smi");

  it("are none for exit 0 and for the warning about an infoROM", () => {
    expect([say(0), say(14)]).toEqual([undefined, undefined]);
  });

  it("are there for every other end, whatever the code, and fit on a line", () => {
    for (let code = 1; code < 256; code++) {
      if (code === 14) continue;
      const sentence = say(code, "\u0007 something\nmore");
      expect(sentence, `${code}`).toMatch(/^[^\p{Cc}]{20,}$/u);
    }
    for (const startError of ["ENOENT", "EACCES", "EAGAIN"]) {
      expect(troubleOf({ kind: "ended", end: { startError }, text: "" }, "nvidia-smi")).toMatch(/nvidia-smi/);
    }
    expect(troubleOf({ kind: "ended", end: { signal: "SIGSEGV" }, text: "" }, "nvidia-smi")).toMatch(/SIGSEGV/);
  });

  it("go by the words where the exit code says too little", () => {
    expect(say(255, "Failed to initialize NVML: Unknown Error\n")).toMatch(/recreate the container/);
    expect(say(255, "Failed to initialize NVML: Timeout\n")).toMatch(/Timeout/);
    expect(say(255, "Unable to determine the number of GPUs")).toMatch(/how many GPUs/);
    expect(say(0, "No devices found.\n")).toMatch(/found no GPU/);
  });
});
