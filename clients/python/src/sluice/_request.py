"""What is asked for, in Python's words, and as the contract's messages."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Mapping, Optional, Sequence

from google.protobuf.duration_pb2 import Duration

from .v1 import scheduler_pb2, types_pb2

AWAY = 60.0
"""How long a server may be away that has answered before: a job that has waited all night should not die of a restart."""


@dataclass(frozen=True)
class Request:
    """One request for resources. Sizes in MiB, times in seconds."""

    name: str = ""
    vram_mb: int = 0
    ram_mb: int = 0
    gpus: Optional[int] = None
    gpu_uuids: Sequence[str] = ()
    exclusive: bool = False
    tenant: str = ""
    priority: int = 0
    importance: int = 0
    expected_duration: Optional[float] = None
    labels: Mapping[str, str] = field(default_factory=dict)
    timeout: Optional[float] = None
    ttl: Optional[float] = None
    policy: str = ""
    request_id: str = ""

    def workload(self) -> types_pb2.Workload:
        """The same as the contract's message. A GPU is asked for as soon as anything about GPUs is said."""
        wants_gpu = self.vram_mb > 0 or bool(self.gpus) or len(self.gpu_uuids) > 0 or self.exclusive
        return types_pb2.Workload(
            name=self.name,
            resources=types_pb2.ResourceRequirements(
                requires_gpu=wants_gpu,
                min_gpu_vram_mb=self.vram_mb,
                min_system_ram_mb=self.ram_mb,
                gpu_count=self.gpus or 0,
                gpu_uuids=self.gpu_uuids,
                exclusive_gpu=self.exclusive,
            ),
            tenant=self.tenant,
            priority=self.priority,
            importance=self.importance,
            expected_duration=duration(self.expected_duration),
            labels=self.labels,
        )

    def wait(self, timeout: Optional[float]) -> scheduler_pb2.WaitForResourcesRequest:
        """The message that queues. timeout is what is left of it; None: the server's default, 0: for ever."""
        return scheduler_pb2.WaitForResourcesRequest(
            workload=self.workload(),
            request_id=self.request_id,
            timeout=duration(timeout),
            lease_ttl=duration(self.ttl),
            policy=self.policy,
            hold=types_pb2.HOLD_TTL,
            # The place is kept for as long as this client tries to come back.
            grace_time=duration(AWAY),
        )

    def allocate(self) -> scheduler_pb2.AllocateRequest:
        """The message that decides now."""
        return scheduler_pb2.AllocateRequest(
            workload=self.workload(), request_id=self.request_id, lease_ttl=duration(self.ttl), policy=self.policy
        )

    def left(self, since_start: float) -> Optional[float]:
        """What is left of the timeout. At least 1 ms: 0 would mean for ever."""
        if self.timeout is None or self.timeout == 0:
            return self.timeout
        return max(0.001, self.timeout - since_start)


def new_request_id() -> str:
    """An id with which a place in the queue is found again after a broken connection."""
    return f"python-{uuid.uuid4()}"


def named(request: Request) -> Request:
    """The same with an id of its own, where it has none: without one a broken connection would cost the place."""
    return request if request.request_id else replace(request, request_id=new_request_id())


def duration(seconds: Optional[float]) -> Optional[Duration]:
    """The contract's message for a time in seconds."""
    if seconds is None:
        return None
    nanos = round(seconds * 1e9)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)
