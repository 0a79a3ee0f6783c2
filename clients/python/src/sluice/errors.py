"""What can go wrong, as exceptions that say why. All of them are SluiceError."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import grpc

from ._details import Details, details_of
from .v1 import executor_pb2
from .v1.types_pb2 import REASON_CODE_NEVER_FITS, Reason, Refusal, ResourceRequirements


class SluiceError(Exception):
    """Base of all errors.

    reason is the stable word for what happened (ErrorInfo.reason of the contract), such as "QUEUE_FULL"; empty when there is
    none. code is the gRPC status, None when no call failed. retry_after is in seconds, None when the server named no time.
    """

    def __init__(self, message: str, *, code: Optional[grpc.StatusCode] = None, details: Optional[Details] = None) -> None:
        super().__init__(message)
        details = details or Details()
        self.code = code
        self.reason = details.reason
        self.metadata = details.metadata
        self.retry_after = details.retry_after
        self.violations = details.violations


class InvalidRequest(SluiceError):
    """The request is wrong and stays wrong. violations are pairs of field and what is wrong with it."""


class Refused(SluiceError):
    """A no, with its reasons.

    reasons are the server's, with their numbers; largest_that_fits is the largest request of the same shape that the machine
    could ever hold, None when there is none.
    """

    def __init__(self, message: str, refusal: Optional[Refusal] = None, **more: object) -> None:
        super().__init__(message, **more)  # type: ignore[arg-type]
        refusal = refusal or Refusal()
        self.reasons: Sequence[Reason] = list(refusal.reasons)
        has_largest = refusal.HasField("largest_that_fits")
        self.largest_that_fits: Optional[ResourceRequirements] = refusal.largest_that_fits if has_largest else None


class NeverFits(Refused):
    """It would not fit on an empty machine either."""


class TimedOut(SluiceError):
    """It waited as long as it was allowed to. waited is in seconds, reasons are why it waited until the end."""

    def __init__(self, message: str, waited: float, reasons: Sequence[Reason]) -> None:
        super().__init__(message)
        self.waited = waited
        self.reasons: Sequence[Reason] = list(reasons)


class QueueFull(SluiceError):
    """The queue, or the tenant's share of it, is at its limit."""


class TicketCancelled(SluiceError):
    """Somebody took the request out of the queue."""


class LeaseGone(SluiceError):
    """The lease has ended, or the token is not its own."""


class LeaseLost(SluiceError):
    """The lease ended while it was held: its memory is no longer reserved, and others may be admitted to it."""


class Unreachable(SluiceError):
    """No server answers."""


class Draining(Unreachable):
    """The server is shutting down, or cannot promise anything now. It says when to ask again."""


class Failed(SluiceError):
    """An execution failed; failure says how (sluice.v1.ExecutionFailed), None when nothing is known."""

    def __init__(self, message: str, failure: Optional[executor_pb2.ExecutionFailed] = None, **more: object) -> None:
        super().__init__(message, **more)  # type: ignore[arg-type]
        self.failure = failure


_BY_REASON: dict[str, type[SluiceError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "QUEUE_FULL": QueueFull,
    "TENANT_QUEUE_FULL": QueueFull,
    "DRAINING": Draining,
    "STATE_UNAVAILABLE": Draining,
    "TICKET_CANCELLED": TicketCancelled,
    "LEASE_EXPIRED": LeaseGone,
    "STALE_TOKEN": LeaseGone,
}

_BY_CODE: dict[grpc.StatusCode, type[SluiceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
}


def error_from(error: grpc.RpcError) -> SluiceError:
    """The exception for a call that failed, of the sync or of the asyncio stack."""
    # Both stacks raise errors that are calls too, which the type does not say.
    failed: Any = error
    code: grpc.StatusCode = failed.code()
    message: str = failed.details() or code.name
    details = details_of(failed.trailing_metadata())
    if details.reason == "NOT_ADMITTED" and details.refusal is not None:
        return refused(details.refusal, message, code, details)
    if details.reason.startswith("EXECUTION_"):
        return Failed(message, details.failure, code=code, details=details)
    kind = _BY_REASON.get(details.reason) or _BY_CODE.get(code, SluiceError)
    return kind(message, code=code, details=details)


def refused(
    refusal: Refusal, message: str = "", code: Optional[grpc.StatusCode] = None, details: Optional[Details] = None
) -> Refused:
    """The exception for a refusal."""
    never = any(reason.code == REASON_CODE_NEVER_FITS for reason in refusal.reasons)
    text = message or "; ".join(reason.message for reason in refusal.reasons) or "it was refused"
    return (NeverFits if never else Refused)(text, refusal, code=code, details=details)
