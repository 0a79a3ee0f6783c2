"""Run by echo-worker.json: loads once, then answers one execution after the other. See docs/workers.md."""

import os
import sys
import threading
import time

# The kit lies in this repository; with it installed (pip install ./kits/python) this line is not needed.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "kits", "python"))

from sluice_worker import Worker, run

ROWS = 10_001
PARTS = 10


class EchoWorker(Worker):
    """Stands for a program whose model takes time and memory to load."""

    def __init__(self):
        self.table = None
        self.calls = 0
        # Two executions may run at the same time (max_concurrency).
        self.lock = threading.Lock()

    def initialize(self, ctx):
        self.load(ctx)

    def load(self, ctx):
        table = {}
        for part in range(PARTS):
            for row in range(part * ROWS // PARTS, (part + 1) * ROWS // PARTS):
                table[row] = row * row
            ctx.progress((part + 1) / PARTS, f"{len(table)} rows")
        self.table = table

    def execute(self, arguments, ctx):
        with self.lock:
            # release() gave the table back, so the first execution after it builds it again.
            if self.table is None:
                ctx.log("building the table again")
                self.load(ctx)
            self.calls += 1
            calls = self.calls
        steps = arguments.get("steps", 0)
        for step in range(steps):
            ctx.check_cancelled()
            time.sleep(arguments.get("step_ms", 10) / 1000)
            ctx.progress((step + 1) / steps, f"step {step + 1} of {steps}")
        squared = self.table[len(arguments.get("text", ""))]
        return {**arguments, "length_squared": squared, "calls": calls}

    def release(self):
        self.table = None


if __name__ == "__main__":
    run(EchoWorker())
