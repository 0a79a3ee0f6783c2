"""Run by torch-worker.json: keeps a model on the GPU that its lease gives. See docs/workers.md."""

import os
import sys

# The kit lies in this repository; with it installed (pip install ./kits/python) this line is not needed.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "kits", "python"))

from sluice_worker import Fatal, Worker, run

MODEL_SIZE = 8192


class TorchWorker(Worker):
    """Its model is one matrix: 256 MiB as float32."""

    torch = None
    weights = None

    def initialize(self, ctx):
        ctx.progress(message="importing torch")
        try:
            import torch
        except (ImportError, OSError) as error:
            raise Fatal(f"PyTorch cannot be imported ({error}): install it for {sys.executable} (pip install torch).") from None
        self.torch = torch
        # CUDA_VISIBLE_DEVICES holds the GPUs of the lease only, so "cuda" is the right one.
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.load(ctx)

    def load(self, ctx):
        ctx.progress(message=f"loading onto {self.device}")
        generator = self.torch.Generator(device="cpu").manual_seed(0)
        self.weights = self.torch.randn(MODEL_SIZE, MODEL_SIZE, generator=generator).to(self.device)
        ctx.progress(1, f"loaded onto {self.device}")

    def execute(self, arguments, ctx):
        # A torch.OutOfMemoryError in here is told to sluice as what it is; there is nothing to catch.
        if self.weights is None:
            self.load(ctx)
        size, repeat = arguments.get("size", 1024), arguments.get("repeat", 1)
        with self.torch.inference_mode():
            x = self.torch.ones(size, MODEL_SIZE, device=self.device)
            for step in range(repeat):
                ctx.check_cancelled()
                x = self.torch.tanh(x @ self.weights)
                ctx.progress((step + 1) / repeat)
            mean = x.mean().item()
        return {"mean": mean, "size": size, "repeat": repeat, "device": str(self.device)}

    def release(self):
        self.weights = None
        if self.device.type == "cuda":
            self.torch.cuda.empty_cache()


if __name__ == "__main__":
    run(TorchWorker())
