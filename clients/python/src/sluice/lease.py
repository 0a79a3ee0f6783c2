"""Resources that are waited for, and the lease that comes of it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional

import grpc

from ._channel import is_local
from ._environment import Environment
from ._held import HeldLease, log
from ._keeper import Keeper
from ._line import pause
from ._progress import Progress, display_for
from ._request import Request, named
from ._tenure import now
from ._wait import wait_for
from .errors import SluiceError, Unreachable, error_from, refused
from .told import EvictionRequest
from .v1 import scheduler_pb2, types_pb2

if TYPE_CHECKING:
    from .client import Client

_FAREWELL = 3.0
"""How long the server may take to hear that work is over, in seconds. The lease ends by itself when it does not."""


@dataclass(frozen=True)
class Wishes:
    """How to wait, and what to do with the lease."""

    wait: bool = True
    progress: Progress = False
    on_eviction: Optional[Callable[["Lease", EvictionRequest], Any]] = None
    on_lost: Optional[Callable[["Lease", str], Any]] = None
    set_environment: bool = True
    attach: bool = True


class Lease(HeldLease):
    """A claim on named GPUs and on RAM that is renewed in the background until it is given back."""

    def __init__(self, message: types_pb2.Lease, client: "Client", wishes: Wishes, heard_at: float) -> None:
        super().__init__(message, client.address)
        self._scheduler = client.scheduler
        self._channel = client.channel
        self._pid = os.getpid()
        self._over = False
        self._execution = ""
        self._keeper = Keeper(self, client.scheduler, wishes, heard_at)
        # Both calls at a time: whoever has waited should begin soon.
        attaching = self._attach() if wishes.attach and is_local(client.address) else None
        if wishes.on_eviction is None:
            # Nobody would hear a request to give it back, so it counts as in use until the end.
            self._execution = self._start_execution()
        if attaching is not None:
            self._attached(attaching)
        self._keeper.start()

    @contextlib.contextmanager
    def executing(self) -> Iterator[None]:
        """Work on the lease. While there is any, the lease is not evicted; with on_eviction it is idle between such blocks.

        Raises LeaseGone when the lease has ended.
        """
        execution = self._start_execution()
        try:
            yield
        finally:
            self._finish_execution(execution)

    def release(self) -> None:
        """Gives the lease back. Does nothing the second time, and never raises: at worst the lease ends by itself."""
        # A child process that was forked off inherits this object, but not the lease.
        if self._over or os.getpid() != self._pid:
            return
        self._over = True
        self._keeper.stop()
        if self.lost:
            return
        if self._execution:
            self._finish_execution(self._execution)
        request = scheduler_pb2.ReleaseLeaseRequest(lease_id=self.id, token=self.token)
        try:
            _again(self._channel, lambda limit: self._scheduler.ReleaseLease(request, timeout=limit), _FAREWELL)
        except SluiceError as error:
            log.warning("lease %s could not be given back (%s); it ends by itself when it is not renewed", self.id, error)

    def _start_execution(self) -> str:
        request = scheduler_pb2.StartExecutionRequest(lease_id=self.id, token=self.token)
        # One that was counted twice ends with the lease all the same.
        answer: Any = _again(self._channel, lambda limit: self._scheduler.StartExecution(request, timeout=limit), 10.0)
        return str(answer.execution_id)

    def _finish_execution(self, execution: str) -> None:
        request = scheduler_pb2.FinishExecutionRequest(lease_id=self.id, execution_id=execution)
        try:
            _again(self._channel, lambda limit: self._scheduler.FinishExecution(request, timeout=limit), _FAREWELL)
        except SluiceError as error:
            log.info("the end of execution %s was not told: %s", execution, error)

    def _attach(self) -> Any:
        request = scheduler_pb2.AttachProcessRequest(lease_id=self.id, token=self.token, pid=self._pid)
        return self._scheduler.AttachProcess.future(request, timeout=_FAREWELL)

    def _attached(self, call: Any) -> None:
        try:
            call.result()
        except grpc.RpcError as error:
            # Measured memory is then not credited to the lease; what was promised holds all the same.
            log.info("this process was not attached to lease %s: %s", self.id, error_from(error))


class Resources:
    """Resources that are asked for. `with` waits for them, sets the environment, and gives them back.

    Each `with`, and each acquire(), asks anew.
    """

    def __init__(self, client: "Client", request: Request, wishes: Wishes) -> None:
        self._client = client
        self._request = request
        self._wishes = wishes
        self._lease: Optional[Lease] = None
        self._environment: Optional[Environment] = None

    def acquire(self) -> Lease:
        """Waits and answers the lease, which has to be given back by release(). Leaves the environment alone.

        Raises Refused (NeverFits), TimedOut, QueueFull, TicketCancelled, InvalidRequest or Unreachable.
        """
        scheduler = self._client.scheduler
        request = named(self._request)
        if self._wishes.wait:
            message = wait_for(scheduler, self._client.channel, request, display_for(self._wishes.progress))
        else:
            message = self._allocate(request)
        heard_at = now()
        try:
            return Lease(message, self._client, self._wishes, heard_at)
        except BaseException:
            with contextlib.suppress(grpc.RpcError):
                scheduler.ReleaseLease(
                    scheduler_pb2.ReleaseLeaseRequest(lease_id=message.id, token=message.token), timeout=_FAREWELL
                )
            raise

    def __enter__(self) -> Lease:
        if self._lease is not None:
            raise RuntimeError("these resources are held already; ask for others")
        self._lease = self.acquire()
        if self._wishes.set_environment:
            self._environment = Environment(self._lease.env)
            self._environment.set()
        return self._lease

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        lease, self._lease = self._lease, None
        environment, self._environment = self._environment, None
        if environment is not None:
            environment.restore()
        if lease is not None:
            lease.release()

    def _allocate(self, request: Request) -> types_pb2.Lease:
        message = request.allocate()
        answer: Any = _again(self._client.channel, lambda limit: self._client.scheduler.Allocate(message, timeout=limit), 10.0)
        if answer.WhichOneof("outcome") == "lease":
            return answer.lease  # type: ignore[no-any-return]
        raise refused(answer.refusal)


def _again(channel: Any, call: Callable[[float], Any], limit: float) -> Any:
    """Calls, and again while the server is away. What is called must bear being called twice for one effect."""
    until = now() + limit
    seconds = 0.1
    while True:
        try:
            return call(max(0.1, until - now()))
        except grpc.RpcError as error:
            failure = error_from(error)
            if not isinstance(failure, Unreachable) or now() + seconds > until:
                raise failure from error
        except ValueError as error:  # what gRPC says of a channel that is closed
            raise Unreachable("the client is closed") from error
        pause(channel, seconds)
        seconds = min(1.0, seconds * 2)
