"""What is known of a lease while it is held. Shared by the sync and the asyncio lease."""

from __future__ import annotations

import logging
from typing import Mapping, Optional, Sequence

from .errors import LeaseLost
from .told import EvictionRequest
from .v1 import types_pb2

log = logging.getLogger("sluice")

_WHY: dict[int, str] = {
    types_pb2.LEASE_END_RELEASED: "somebody gave it back",
    types_pb2.LEASE_END_EXPIRED: "it was not renewed in time",
    types_pb2.LEASE_END_EVICTED: "it was taken for somebody who waited",
    types_pb2.LEASE_END_PROCESS_EXITED: "every process attached to it has ended",
}


def why_ended(end: int) -> str:
    """The end of a lease in words."""
    return _WHY.get(end, "the server ended it")


class HeldLease:
    """The parts of a lease that need no call."""

    def __init__(self, message: types_pb2.Lease, address: str) -> None:
        self.message = message
        """The lease as it was granted or last renewed (sluice.v1.Lease)."""
        # Only the grant tells it, a renewal does not; and by which name the server is reached from here it cannot know.
        self._env = {**message.env, "SLUICE_ADDRESS": address}
        self._address = address
        self._why_lost: Optional[str] = None
        self._eviction: Optional[EvictionRequest] = None

    @property
    def id(self) -> str:
        """Identity of the lease."""
        return self.message.id

    @property
    def token(self) -> int:
        """Fencing token: rises with every grant of the server and never repeats."""
        return self.message.token

    @property
    def gpus(self) -> Sequence[types_pb2.LeasedGpu]:
        """The GPUs with their UUIDs, indexes and MiB; empty when no GPU was asked for."""
        return list(self.message.gpus)

    @property
    def env(self) -> Mapping[str, str]:
        """What a child process should find in its environment. `with` sets it in this process's own."""
        return dict(self._env)

    @property
    def lost(self) -> bool:
        """True once the lease is known to have ended although nobody here gave it back: its memory is no longer reserved."""
        return self._why_lost is not None

    @property
    def why_lost(self) -> str:
        """Why it was lost, in words; empty while it is held."""
        return self._why_lost or ""

    @property
    def eviction_requested(self) -> Optional[EvictionRequest]:
        """Set while somebody waits for this memory; None when nobody does, or no longer."""
        return self._eviction

    def check(self) -> None:
        """Raises LeaseLost when the lease is lost. Cheap: ask in every step of a loop."""
        if self._why_lost is not None:
            raise LeaseLost(f"the lease {self.id} is lost: {self._why_lost}")
