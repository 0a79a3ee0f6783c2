import { FakeNvidiaSmi, type FakeState, gpuUuid } from "../../fakes/nvidia-smi/fake.ts";
import { type Backend, defaultReservedMb, type Machine, type MachineGpu } from "./machine.ts";

/** The project's own pretended nvidia-smi and jobs. */
export const fakeBackend: Backend = {
  name: "the project's own nvidia-smi",
  missing: undefined,
  create: (gpus) => new FakeMachine(gpus),
};

/**
 * The pretended job knows one GPU, so a job on several is a process for each. They end together: what one of them ends with is the
 * end of all.
 */
const onSeveralGpus = `
count=$1; shift
pids=
trap 'kill $pids 2>/dev/null; exit 143' TERM
for gpu in $(echo "$CUDA_VISIBLE_DEVICES" | tr , '\n' | head -n "$count"); do
  CUDA_VISIBLE_DEVICES=$gpu "$@" & pids="$pids $!"
done
for pid in $pids; do
  wait "$pid" || { code=$?; kill $pids 2>/dev/null; wait; exit $code; }
done
`;

class FakeMachine implements Machine {
  readonly #fake: FakeNvidiaSmi;

  constructor(gpus: readonly MachineGpu[]) {
    this.#fake = new FakeNvidiaSmi({ gpus: gpus.map(toFake) });
  }

  get nvidiaSmi(): string {
    return this.#fake.path;
  }

  uuid(index: number): string {
    return gpuUuid(index);
  }

  setGpus(gpus: readonly MachineGpu[]): void {
    this.#fake.update((state) => {
      state.gpus = gpus.map(toFake);
    });
  }

  foreign(index: number, mib: number): void {
    this.#gpu(index, (gpu) => {
      gpu.usedMb = mib;
    });
  }

  job(mib: number, seconds: number, rampSeconds = 0, gpuCount = 1): readonly [string, ...string[]] {
    const one: [string, ...string[]] = [
      this.#fake.jobPath,
      ...["--mib", `${mib}`, "--seconds", `${seconds}`, "--ramp-seconds", `${rampSeconds}`],
    ];
    return gpuCount === 1 ? one : ["sh", "-c", onSeveralGpus, "job", `${gpuCount}`, ...one];
  }

  releaseLag(ms: number): void {
    this.#fake.update((state) => {
      state.releaseLagMs = ms;
    });
  }

  lose(index: number): void {
    this.#gpu(index, (gpu) => {
      gpu.health = "lost";
    });
  }

  recover(index: number): void {
    this.#gpu(index, (gpu) => {
      gpu.health = "ok";
    });
  }

  hang(on: boolean): void {
    this.#fake.update((state) => {
      state.hang = on;
    });
  }

  noDriver(on: boolean): void {
    this.#fake.update((state) => {
      if (on) state.fail = 9;
      else delete state.fail;
    });
  }

  garbage(on: boolean): void {
    this.#fake.update((state) => {
      state.garbage = on;
      state.truncate = on;
    });
  }

  outOfMemory() {
    return this.#fake.oomLog();
  }

  dispose(): void {
    this.#fake.dispose();
  }

  #gpu(index: number, change: (gpu: FakeState["gpus"][number]) => void): void {
    this.#fake.update((state) => {
      const gpu = state.gpus[index];
      if (gpu === undefined) throw new Error(`there is no GPU ${index}`);
      change(gpu);
    });
  }
}

function toFake(gpu: MachineGpu, index: number): FakeState["gpus"][number] {
  return {
    uuid: gpuUuid(index),
    totalMb: gpu.totalMb,
    reservedMb: gpu.reservedMb ?? defaultReservedMb,
    usedMb: gpu.foreignMb ?? 0,
  };
}
