"""What the messages of a wait mean, and how long a server may be away. Shared by the sync and the asyncio wait."""

from __future__ import annotations

from typing import Optional, Union

from ._request import AWAY, Request
from ._tenure import now
from .errors import SluiceError, TimedOut, Unreachable, refused
from .told import Waiting, waiting_from
from .v1.scheduler_pb2 import WaitForResourcesResponse
from .v1.types_pb2 import Lease as LeaseMessage

FIRST_ANSWER = 5.0
"""How long nobody may answer at the very first, in seconds: a wrong address should be told soon."""


def meaning(message: WaitForResourcesResponse) -> Union[Waiting, LeaseMessage, None]:
    """A place in the queue, the lease, or None for an event of a newer server, which is passed over.

    Raises Refused or TimedOut.
    """
    event = message.WhichOneof("event")
    if event == "queued":
        return waiting_from(message.queued)
    if event == "granted":
        return message.granted.lease
    if event == "refused":
        raise refused(message.refused.refusal)
    if event == "timed_out":
        waited = message.timed_out.waited.seconds + message.timed_out.waited.nanos / 1e9
        reasons = list(message.timed_out.reasons)
        why = "; ".join(reason.message for reason in reasons)
        raise TimedOut(f"waited {waited:.1f} s in vain: {why}", waited, reasons)
    return None


class Patience:
    """Whether to ask again after a broken connection, and when."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._start = now()
        self._heard: Optional[float] = None
        self._pause = 0.1

    def left(self) -> Optional[float]:
        """What is left of the request's timeout, in seconds."""
        return self._request.left(now() - self._start)

    def heard(self) -> None:
        """The server has said something."""
        self._heard = now()
        self._pause = 0.1

    def pause(self, failure: SluiceError) -> float:
        """Seconds until the next attempt. Raises the failure when there is to be none."""
        since = self._start if self._heard is None else self._heard
        limit = FIRST_ANSWER if self._heard is None else AWAY
        if not isinstance(failure, Unreachable) or now() - since > limit:
            raise failure
        pause, self._pause = self._pause, min(1.0, self._pause * 2)
        return pause


def no_answer() -> Unreachable:
    """The stream ended and said nothing final."""
    return Unreachable("the server ended the wait without an answer")
