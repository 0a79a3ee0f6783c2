"""A server for unit tests: the real gRPC stack, answers that a test chooses."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator

import grpc

from sluice._request import duration
from sluice.v1 import scheduler_pb2, scheduler_pb2_grpc, types_pb2

GPU = "GPU-00000000-0000-4000-8000-000000000000"


class FakeServer(scheduler_pb2_grpc.SchedulerServiceServicer):  # type: ignore[misc]
    """Grants what it is asked for, unless a test says otherwise. `with` starts it on a free port of the loopback."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.ttl = 60.0
        self.waits: list[scheduler_pb2.WaitForResourcesRequest] = []
        self.renewals = 0
        self.released: list[str] = []
        self.cancelled: list[str] = []
        self.attached: list[int] = []
        self.executions: list[str] = []
        self.watch_tokens: list[int] = []
        self.on_wait: Callable[[int, Any], Iterator[scheduler_pb2.WaitForResourcesResponse]] = self.grant
        self.on_renew: Callable[[Any], None] = lambda context: None
        self.watch: list[scheduler_pb2.WatchLeaseResponse] = []
        self.watching = threading.Event()
        self._over = threading.Event()

    def __enter__(self) -> "FakeServer":
        self._server = grpc.server(ThreadPoolExecutor(16))
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self.address = f"127.0.0.1:{port}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.stop(0).wait()

    def lease(self, name: str = "") -> types_pb2.Lease:
        """The lease that is granted."""
        return types_pb2.Lease(
            id="lease-1",
            token=7,
            workload=types_pb2.Workload(name=name),
            gpus=[types_pb2.LeasedGpu(uuid=GPU, vram_mb=4096)],
            ttl=duration(self.ttl),
            env={"CUDA_VISIBLE_DEVICES": GPU, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "SLUICE_LEASE_ID": "lease-1"},
        )

    def grant(self, _: int, __: Any) -> Iterator[scheduler_pb2.WaitForResourcesResponse]:
        """Granted at once."""
        yield self.granted()

    def queued(self, position: int = 1) -> scheduler_pb2.WaitForResourcesResponse:
        """A message that tells a place."""
        reason = types_pb2.Reason(code=types_pb2.REASON_CODE_INSUFFICIENT_GPU_MEMORY, message="GPU 0 is full")
        queued = scheduler_pb2.Queued(position=position, queue_length=3, reasons=[reason])
        return scheduler_pb2.WaitForResourcesResponse(ticket_id="ticket-1", queued=queued)

    def granted(self) -> scheduler_pb2.WaitForResourcesResponse:
        """A message that grants."""
        granted = scheduler_pb2.Granted(lease=self.lease())
        return scheduler_pb2.WaitForResourcesResponse(ticket_id="ticket-1", granted=granted)

    def park(self, context: Any) -> None:
        """Stays in a call until its client or the test is gone."""
        gone = threading.Event()
        if not context.add_callback(gone.set):
            return
        while not gone.wait(0.01) and not self._over.is_set():
            pass

    # The calls.

    def WaitForResources(self, request: Any, context: Any) -> Iterator[Any]:
        self.waits.append(request)
        yield from self.on_wait(len(self.waits), context)

    def Allocate(self, request: Any, context: Any) -> Any:
        return scheduler_pb2.AllocateResponse(lease=self.lease(request.workload.name))

    def RenewLease(self, request: Any, context: Any) -> Any:
        self.renewals += 1
        self.on_renew(context)
        # As the real one does: without env.
        lease = self.lease()
        lease.env.clear()
        return scheduler_pb2.RenewLeaseResponse(lease=lease)

    def ReleaseLease(self, request: Any, context: Any) -> Any:
        self.released.append(request.lease_id)
        return scheduler_pb2.ReleaseLeaseResponse()

    def CancelTicket(self, request: Any, context: Any) -> Any:
        self.cancelled.append(request.ticket_id)
        return scheduler_pb2.CancelTicketResponse()

    def StartExecution(self, request: Any, context: Any) -> Any:
        self.executions.append("start")
        return scheduler_pb2.StartExecutionResponse(execution_id="execution-1")

    def FinishExecution(self, request: Any, context: Any) -> Any:
        self.executions.append("finish")
        return scheduler_pb2.FinishExecutionResponse()

    def AttachProcess(self, request: Any, context: Any) -> Any:
        self.attached.append(request.pid)
        return scheduler_pb2.AttachProcessResponse()

    def WatchLease(self, request: Any, context: Any) -> Iterator[Any]:
        self.watch_tokens.append(request.token)
        self.watching.set()
        yield from self.watch
        self.watch = []
        self.park(context)


def until(condition: Callable[[], Any], what: str, within: float = 10.0) -> None:
    """Waits until something holds."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {within} s in vain for {what}")
        time.sleep(0.005)
