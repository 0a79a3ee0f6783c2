"""The connection to a server."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Callable, Mapping, Optional, Sequence

import grpc
from google.protobuf import json_format, struct_pb2

from ._channel import address_of, channel_options
from ._progress import Progress
from ._request import Request, duration, new_request_id
from .errors import Failed, error_from, refused
from .lease import Lease, Resources, Wishes
from .told import EvictionRequest
from .v1 import executor_pb2, executor_pb2_grpc, monitor_pb2_grpc, scheduler_pb2, scheduler_pb2_grpc


def connect(address: Optional[str] = None, *, keepalive: float = 10.0) -> "Client":
    """A client of the server at address ("host:port" or "unix:/path"; else SLUICE_ADDRESS, else 127.0.0.1:50051).

    Nothing is opened before the first call. keepalive is how long a line may be silent before the server is asked for a sign of
    life, in seconds; a line without one ends with Unreachable.
    """
    return Client(address, keepalive=keepalive)


class Client:
    """A connection that all threads may share. `with` closes it; so does being forgotten."""

    def __init__(self, address: Optional[str] = None, *, keepalive: float = 10.0) -> None:
        self.address = address_of(address)
        self.channel = grpc.insecure_channel(self.address, options=channel_options(self.address, keepalive))
        # The generated stubs have no types of their own.
        self.scheduler: Any = scheduler_pb2_grpc.SchedulerServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self.executor: Any = executor_pb2_grpc.ExecutorServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self.monitor: Any = monitor_pb2_grpc.MonitorServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def resources(
        self,
        *,
        name: str = "",
        vram_mb: int = 0,
        ram_mb: int = 0,
        gpus: Optional[int] = None,
        gpu_uuids: Sequence[str] = (),
        exclusive: bool = False,
        tenant: str = "",
        priority: int = 0,
        importance: int = 0,
        expected_duration: Optional[float] = None,
        labels: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
        ttl: Optional[float] = None,
        policy: str = "",
        request_id: Optional[str] = None,
        wait: bool = True,
        progress: Progress = False,
        on_eviction: Optional[Callable[[Lease, EvictionRequest], Any]] = None,
        on_lost: Optional[Callable[[Lease, str], Any]] = None,
        set_environment: bool = True,
        attach: bool = True,
    ) -> Resources:
        """Resources to be held by `with`, which waits for them.

        vram_mb is MiB on each of gpus GPUs (1 unless said), ram_mb MiB of host memory. timeout is how long to wait, in seconds
        (None: the server's default, 300; 0: for ever). ttl is how long the lease lives without renewal. request_id finds the
        same place or lease again; a fresh one is made for each wait. wait=False decides at once, by the server's policy, which
        admits everything unless the operator chose one: name policy="safety" to be refused what does not fit.

        progress=True shows the wait; a function is called with a Waiting on each change. on_lost(lease, why) is called from a
        thread when the lease is lost. With on_eviction(lease, request) the lease can be asked back while no `with
        lease.executing():` runs: free the memory and call lease.release(). Without it, it counts as in use until the end.

        set_environment sets CUDA_VISIBLE_DEVICES and its companions in this process while `with` lasts, before CUDA is first
        used. attach has memory of this process credited to the lease (only with a server on the same machine; switch it off
        in a container with pids of its own).
        """
        request = Request(
            name=name,
            vram_mb=vram_mb,
            ram_mb=ram_mb,
            gpus=gpus,
            gpu_uuids=gpu_uuids,
            exclusive=exclusive,
            tenant=tenant,
            priority=priority,
            importance=importance,
            expected_duration=expected_duration,
            labels=labels or {},
            timeout=timeout,
            ttl=ttl,
            policy=policy,
            request_id=request_id or "",
        )
        wishes = Wishes(wait, progress, on_eviction, on_lost, set_environment, attach)
        return Resources(self, request, wishes)

    def explain(self, *, policy: str = "", **asked: Any) -> scheduler_pb2.ExplainResponse:
        """Whether resources would be granted now, and if not, why not and what would be. Takes what resources() takes."""
        request = scheduler_pb2.ExplainRequest(workload=Request(**asked).workload(), policy=policy)
        try:
            return self.scheduler.Explain(request, timeout=10.0)  # type: ignore[no-any-return]
        except grpc.RpcError as error:
            raise error_from(error) from error

    def execute(
        self,
        plugin: str,
        arguments: Optional[Mapping[str, Any]] = None,
        *,
        on_event: Optional[Callable[[executor_pb2.StreamExecutionResponse], Any]] = None,
        policy: str = "",
        timeout: Optional[float] = None,
        tenant: str = "",
        priority: int = 0,
        request_id: Optional[str] = None,
    ) -> Any:
        """Runs a plugin and answers its result. on_event is called with each event: queued, admitted, progress, log and so on.

        Raises Refused when it is not admitted, Failed when it fails, and what resources() raises.
        """
        request = executor_pb2.StreamExecutionRequest(
            plugin=plugin,
            arguments=json_format.ParseDict(dict(arguments or {}), struct_pb2.Struct()),
            policy=policy,
            timeout=duration(timeout),
            tenant=tenant,
            priority=priority,
            request_id=request_id or new_request_id(),
        )
        call = self.executor.StreamExecution(request)
        try:
            for message in call:
                if on_event is not None:
                    on_event(message)
                event = message.WhichOneof("event")
                if event == "result":
                    return json_format.MessageToDict(message.result.result)
                if event == "failed":
                    raise failure_from(message.failed)
        except grpc.RpcError as error:
            raise error_from(error) from error
        finally:
            call.cancel()
        raise Failed("the server ended the execution without an answer")

    def close(self) -> None:
        """Ends the connection and the calls that run."""
        self.channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def failure_from(failed: executor_pb2.ExecutionFailed) -> Exception:
    """The exception for an execution that failed."""
    if failed.code == executor_pb2.EXECUTION_FAILURE_NOT_ADMITTED:
        return refused(failed.refusal, failed.message)
    return Failed(failed.message, failed)
