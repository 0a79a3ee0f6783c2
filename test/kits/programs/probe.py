"""Does with the Python kit what its arguments and KIT_PROBE say. The same as probe.ts."""

import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "kits", "python"))

from sluice_worker import Fatal, InvalidArguments, OutOfMemory, Worker, run

mode = os.environ.get("KIT_PROBE", "")
meeting = threading.Barrier(2, timeout=10)
# What was printed before run() and has no end must not spoil the first message.
sys.stdout.write("half a line")


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


class Probe(Worker):
    count = 0
    late = None

    def initialize(self, ctx):
        print("loading on stdout")
        if mode == "load-out-of-memory":
            raise OutOfMemory("ram", 300)
        if mode == "load-fails":
            raise Fatal("install the model first")
        if mode == "load-hangs":
            ctx.progress(message="stuck")
            threading.Event().wait()
        ctx.progress(0.5, "half")
        ctx.log(
            f"{ctx.plugin['name']} {ctx.plugin['version']} {ctx.lease['gpus'][0]['uuid']} {ctx.max_concurrency} {ctx.execution_id}"
        )

    def execute(self, arguments, ctx):
        what = arguments["do"]
        if what == "echo":
            self.count += 1
            return {"got": arguments, "count": self.count, "id": ctx.execution_id}
        if what == "progress":
            for fraction in (0, 0.25, 7, float("nan")):
                ctx.progress(fraction, "step")
            ctx.progress()
            ctx.log("a line\nand ü")
            return None
        if what == "wait":
            ctx.progress(message="waiting")
            while True:
                ctx.check_cancelled()
                time.sleep(0.002)
        if what == "stubborn":
            ctx.progress(message="waiting")
            while not ctx.cancelled:
                time.sleep(0.002)
            return "too late"
        if what == "meet":
            meeting.wait()
            return "met"
        if what == "hang":
            ctx.progress(message="hanging")
            threading.Event().wait()
        if what == "print":
            print("print")
            os.write(1, b"file descriptor 1\n")
            subprocess.run(
                [sys.executable, "-c", "print('child'); import sys; print('read', repr(sys.stdin.read()))"], check=True
            )
            return "printed"
        if what == "nan":
            return {"loss": float("nan")}
        if what == "infinity":
            return [float("inf")]
        if what == "not-json":
            return {"f": lambda: None}
        if what == "cycle":
            ring = []
            ring.append(ring)
            return ring
        if what == "huge":
            return "x" * (4 * 1024 * 1024)
        if what == "out-of-memory":
            raise OutOfMemory("gpu", 2048)
        if what == "framework-text":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if what == "framework-class":
            raise OutOfMemoryError("no room")
        if what == "framework-cause":
            raise ValueError("the step failed") from OutOfMemoryError("no room")
        if what == "ram":
            return bytearray(1 << 62)
        if what == "invalid":
            raise InvalidArguments("size must be at most 8")
        if what == "fatal":
            raise Fatal("the driver is gone")
        if what == "exit":
            sys.exit(3)
        if what == "late":
            self.late = ctx
            return "over"
        if what == "say-late":
            self.late.progress(1, "after the answer")
            self.late.log("after the answer")
            return "said"
        if what == "fork":
            child = os.fork()
            if child == 0:
                # Ends when the test closes the pipe that it names.
                with open(arguments["until"], "rb") as until:
                    until.read()
                os._exit(0)
            return child
        raise RuntimeError("it broke")

    def shutdown(self):
        if mode == "shutdown-hangs":
            print("hanging for ever", flush=True)
            threading.Event().wait()
        print("last words")


class ProbeWithRelease(Probe):
    def release(self):
        self.count = 0


run(Probe() if mode == "no-release" else ProbeWithRelease())
