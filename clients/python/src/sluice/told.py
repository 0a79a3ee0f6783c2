"""What a program is told while it waits and while it holds a lease."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional, Sequence

from .v1.scheduler_pb2 import EvictionRequested, Queued
from .v1.types_pb2 import Reason


@dataclass(frozen=True)
class Waiting:
    """Where a request stands in the queue. Times are seconds."""

    position: int
    """1 is next."""
    queue_length: int
    waited: float
    reasons: Sequence[Reason]
    """Why it waits now, with the numbers behind it."""
    expected_in: Optional[float]
    """Until it is thought to start; None where nothing is known that it could rest on."""

    def __str__(self) -> str:
        return self.text(0.0)

    def text(self, since: float) -> str:
        """One line for people. since is how long ago this was told, in seconds."""
        start = ""
        if self.expected_in is not None:
            left = self.expected_in - since
            start = " (starts any moment)" if left < 1 else f" (starts in ~ {_age(left)})"
        why = "; ".join(reason.message for reason in self.reasons)
        return f"waiting {_age(self.waited + since)}, place {self.position} of {self.queue_length}{start}: {why}"


def waiting_from(queued: Queued) -> Waiting:
    """What the server's message means."""
    expected = None
    if queued.HasField("expected_start"):
        expected = queued.expected_start.seconds + queued.expected_start.nanos / 1e9 - time.time()
    return Waiting(
        position=queued.position,
        queue_length=max(queued.queue_length, queued.position),
        waited=queued.waited.seconds + queued.waited.nanos / 1e9,
        reasons=list(queued.reasons),
        expected_in=expected,
    )


@dataclass(frozen=True)
class EvictionRequest:
    """Somebody waits for this memory: give it back before the deadline, or the server takes it."""

    deadline: datetime
    """By the server's clock."""
    reason: str
    """Who waits, and for how much."""


def eviction_from(event: EvictionRequested) -> EvictionRequest:
    """What the server's message means."""
    seconds = event.deadline.seconds + event.deadline.nanos / 1e9
    return EvictionRequest(datetime.fromtimestamp(seconds, timezone.utc), event.reason)


def _age(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // 3600}h {whole % 3600 // 60}m"
