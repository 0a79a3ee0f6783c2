"""Keeps a lease alive, in two threads: one renews, one listens to what the server says about it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Optional

import grpc

from ._held import log, why_ended
from ._request import duration
from ._tenure import DEFAULT_TTL, Tenure, now
from .errors import InvalidRequest, LeaseGone, error_from
from .told import eviction_from
from .v1 import scheduler_pb2, types_pb2

if TYPE_CHECKING:
    from .lease import Lease, Wishes

_LISTEN_AGAIN = 0.5
"""Seconds until a watch that broke is opened again: only a holder that listens can be asked to give memory back."""


class Keeper:
    """Renews three times in each time to live, and tells the lease when it is lost or asked for."""

    def __init__(self, lease: "Lease", scheduler: Any, wishes: "Wishes", heard_at: float) -> None:
        self._lease = lease
        self._scheduler = scheduler
        self._wishes = wishes
        ttl = lease.message.ttl
        self._ttl = (ttl.seconds + ttl.nanos / 1e9) or DEFAULT_TTL
        self._tenure = Tenure(self._ttl, heard_at)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._calls: set[Any] = set()
        self._threads = [
            threading.Thread(target=run, name=f"sluice-{what}", daemon=True)
            for what, run in (("renew", self._renew), ("watch", self._watch))
        ]

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends both threads, and whatever call they are in. Waits for them, unless one of them is where this is called."""
        self._stopped.set()
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()
        for thread in self._threads:
            if thread is not threading.current_thread():
                # A callback of the program may take its time; the lease is given back all the same.
                thread.join(timeout=2.0)

    def _renew(self) -> None:
        lease, tenure = self._lease, self._tenure
        request = scheduler_pb2.RenewLeaseRequest(lease_id=lease.id, token=lease.token, ttl=duration(self._ttl))
        troubled = False
        while not self._stopped.wait(max(0.0, tenure.next_at - now())):
            sent_at = now()
            if sent_at >= tenure.give_up_at:
                return self._lose("the server could not be reached in time to renew it")
            limit = tenure.call_timeout(sent_at)
            # A call that waits for the line is also what makes it (see _line.py).
            try:
                call = self._begin(self._scheduler.RenewLease.future(request, timeout=limit, wait_for_ready=True))
            except ValueError:
                return self._lose("its client was closed, so nobody renews it")
            try:
                lease.message = call.result().lease
                tenure.renewed(sent_at)
                troubled = False
            except grpc.FutureCancelledError:
                return
            except grpc.RpcError as error:
                failure = error_from(error)
                if isinstance(failure, (LeaseGone, InvalidRequest)):
                    return self._lose(str(failure))
                tenure.failed(now())
                if not troubled and not self._stopped.is_set():
                    log.warning("the lease %s could not be renewed (%s); trying again", lease.id, failure)
                troubled = True
            finally:
                self._end(call)

    def _watch(self) -> None:
        lease = self._lease
        # Whoever gives the token can be asked to give the memory back; without it one only looks on.
        token = 0 if self._wishes.on_eviction is None else lease.token
        request = scheduler_pb2.WatchLeaseRequest(lease_id=lease.id, token=token)
        while not self._stopped.is_set():
            try:
                call = self._begin(self._scheduler.WatchLease(request, wait_for_ready=True))
            except ValueError:  # the client was closed; the renewal tells
                return
            try:
                for message in call:
                    if self._heard(message):
                        return
            except grpc.RpcError as error:
                # The renewal tells the program of a lease that is gone.
                if isinstance(error_from(error), (LeaseGone, InvalidRequest)):
                    return
            finally:
                self._end(call)
            self._stopped.wait(_LISTEN_AGAIN)

    def _heard(self, message: scheduler_pb2.WatchLeaseResponse) -> bool:
        """True when there is nothing more to hear. Events of a newer server are passed over."""
        event = message.WhichOneof("event")
        if event == "eviction_requested":
            asked = eviction_from(message.eviction_requested)
            self._lease._eviction = asked
            self._tell(self._wishes.on_eviction, asked)
        elif event == "snapshot" and message.snapshot.lease.state != types_pb2.LEASE_STATE_EVICTING:
            self._lease._eviction = None
        elif event == "ended":
            self._lose(why_ended(message.ended.why))
            return True
        return False

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._stopped.is_set() or self._lease.lost:
                return
            self._lease._why_lost = why
            self._stopped.set()
            calls = list(self._calls)
        for call in calls:
            call.cancel()
        log.warning(
            "the lease %s is lost: %s. The program goes on, but its memory is no longer reserved; others may be admitted to it",
            self._lease.id,
            why,
        )
        self._tell(self._wishes.on_lost, why)

    def _tell(self, function: Optional[Any], news: Any) -> None:
        if function is None or self._lease._over:
            return
        try:
            function(self._lease, news)
        except Exception:
            # It must not end the thread that keeps the lease.
            log.exception("a callback of the program failed")

    def _begin(self, call: Any) -> Any:
        with self._lock:
            self._calls.add(call)
        # stop() may have come between the question and this.
        if self._stopped.is_set():
            call.cancel()
        return call

    def _end(self, call: Any) -> None:
        with self._lock:
            self._calls.discard(call)
