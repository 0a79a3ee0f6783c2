import type { Answer } from "./one-shot.ts";

/** True when the words say that a single GPU could not be opened, which spoils the answer for all of them. */
export function oneGpuIsUnreadable(answer: Answer): boolean {
  if (answer.kind !== "ended") return false;
  return /device handle for|Problem with GPU/i.test(answer.text);
}

/** The first sentence of what nvidia-smi said (it says errors on stdout), for people. */
export function sentenceOf(text: string): string {
  const line = text.split("\n").find((candidate) => candidate.trim() !== "") ?? "";
  return printable(line.trim()).slice(0, 200);
}

/** Without control characters and broken UTF-8, so that it can stand in a log line and in a status message. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Co}\uFFFD]+/gu, "?");
}

/**
 * Why there are no measurements, and what to do next. For answers that are not rows; undefined when the answer may be rows
 * (exit 0, or 14: "infoROM is corrupted" is a warning).
 */
export function troubleOf(answer: Answer, path: string): string | undefined {
  switch (answer.kind) {
    case "timeout":
      return (
        `nvidia-smi did not answer within ${seconds(answer.afterMs)}: the GPU driver is very slow or hangs. ` +
        "Look for Xid messages in dmesg; nvidia-persistenced makes a cold driver answer faster."
      );
    case "overflow":
      return `nvidia-smi printed more than ${answer.bytes} bytes, which is no measurement. Check what ${path} is.`;
    case "barred":
      return barredMessage(answer.pid);
    case "ended":
      return endedTrouble(answer, path);
  }
}

/** A child that cannot be ended. */
export function barredMessage(pid: number | undefined): string {
  return (
    `nvidia-smi${pid === undefined ? "" : ` (pid ${pid})`} has been told to end and has not ended, so no other is started: ` +
    "the driver hangs. It goes on by itself when that process ends; a driver that stays like this needs a reboot."
  );
}

function endedTrouble({ end, text }: Extract<Answer, { kind: "ended" }>, path: string): string | undefined {
  if (end.startError !== undefined) return startTrouble(end.startError, path);
  if (end.signal !== undefined)
    return `nvidia-smi was ended by ${end.signal}. If it happens again, look into dmesg and reinstall the driver.`;
  const said = sentenceOf(text);
  const bySentence = sentenceTrouble(text);
  switch (end.code) {
    case 0:
    case 14:
      return bySentence;
    case 2:
      return `nvidia-smi did not understand the question: "${said}". Its driver is older than supported (R450), or ${path} is not nvidia-smi.`;
    case 4:
      return (
        "nvidia-smi may not read the GPUs (insufficient permissions). Give this user access to /dev/nvidia* " +
        "(in a container: start it with the GPU devices)."
      );
    case 6:
      return bySentence ?? noDevices;
    case 8:
      return "A GPU's external power cables are not attached properly. Attach them and restart the machine.";
    case 9:
      return "The NVIDIA driver is not loaded, or there is no NVIDIA GPU. Run `nvidia-smi` by hand; load or reinstall the driver (`modprobe nvidia`).";
    case 12:
      return "nvidia-smi cannot find libnvidia-ml.so. Install the driver's libraries (in a container: NVIDIA_DRIVER_CAPABILITIES must contain utility).";
    case 13:
      return "libnvidia-ml.so is older than nvidia-smi. Install both from the same driver version.";
    case 15:
      return `A GPU is lost: "${said}". Reset or reboot the machine to recover it.`;
    case 17:
      return "The operating system blocks access to the GPU. On WSL or a virtual machine, check that GPU access is switched on.";
    case 18:
      return mismatch;
    default:
      return (
        bySentence ?? `nvidia-smi ended with exit code ${end.code}${said ? `: "${said}"` : ""}. Run it by hand to see more.`
      );
  }
}

const noDevices =
  "nvidia-smi found no GPU. Check that the card is seated and visible (`lspci`), and dmesg for RmInitAdapter failures.";
const mismatch =
  "The NVIDIA driver that is loaded and its libraries have different versions, as after an upgrade. Reload the kernel module or reboot.";

function sentenceTrouble(text: string): string | undefined {
  if (/Driver\/library version mismatch/.test(text)) return mismatch;
  if (/readable by current user/.test(text)) return "No GPU is readable for this user. Give it access to /dev/nvidia*.";
  if (/No devices (?:were )?found/.test(text)) return noDevices;
  if (/couldn't communicate with the NVIDIA driver/.test(text)) {
    return "The NVIDIA driver is not loaded, or there is no NVIDIA GPU. Load or reinstall the driver (`modprobe nvidia`).";
  }
  if (/Failed to initialize NVML: Unknown Error/.test(text)) {
    return (
      "NVML cannot be initialised (Unknown Error). In a container this means that it lost its GPU devices, " +
      "as after `systemctl daemon-reload` on the host: recreate the container."
    );
  }
  const nvml = /Failed to initialize NVML: ([^\n]{1,100})/.exec(text);
  if (nvml)
    return `NVML cannot be initialised: ${printable(nvml[1] as string)}. Run \`nvidia-smi\` by hand; a reset or a reboot may be needed.`;
  if (/Unable to determine the number of GPUs/.test(text))
    return "The driver cannot tell how many GPUs there are. Look into dmesg; a reboot may be needed.";
  return undefined;
}

function startTrouble(code: string, path: string): string {
  switch (code) {
    case "ENOENT":
      return `${path} was not found. Install the NVIDIA driver's tools, or name the program with --nvidia-smi.`;
    case "EACCES":
    case "ENOEXEC":
      return `${path} cannot be executed (${code}). Check its permissions, or name another with --nvidia-smi.`;
    case "EMFILE":
    case "ENFILE":
      return `nvidia-smi could not be started (${code}): there are no file descriptors left. Raise their limit (ulimit -n); it is tried again.`;
    default:
      return `nvidia-smi could not be started (${code}). The machine may be out of memory or processes; it is tried again.`;
  }
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
