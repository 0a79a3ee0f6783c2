"""Keeps a lease alive in two tasks of the event loop: one renews, one listens to what the server says about it."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Optional

import grpc

from ._held import log, why_ended
from ._request import duration
from ._tenure import DEFAULT_TTL, Tenure, now
from .errors import InvalidRequest, LeaseGone, error_from
from .told import eviction_from
from .v1 import scheduler_pb2, types_pb2

if TYPE_CHECKING:
    from .aio import Lease
    from .lease import Wishes

_LISTEN_AGAIN = 0.5


class Keeper:
    """Renews three times in each time to live, and tells the lease when it is lost or asked for."""

    def __init__(self, lease: "Lease", scheduler: Any, wishes: "Wishes", heard_at: float) -> None:
        self._lease = lease
        self._scheduler = scheduler
        self._wishes = wishes
        ttl = lease.message.ttl
        self._ttl = (ttl.seconds + ttl.nanos / 1e9) or DEFAULT_TTL
        self._tenure = Tenure(self._ttl, heard_at)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins."""
        self._tasks = [asyncio.ensure_future(self._renew()), asyncio.ensure_future(self._watch())]

    async def stop(self) -> None:
        """Ends both tasks, unless one of them is where this is called from."""
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _renew(self) -> None:
        lease, tenure = self._lease, self._tenure
        request = scheduler_pb2.RenewLeaseRequest(lease_id=lease.id, token=lease.token, ttl=duration(self._ttl))
        troubled = False
        while not lease.lost and not lease._over:
            await asyncio.sleep(max(0.0, tenure.next_at - now()))
            sent_at = now()
            if sent_at >= tenure.give_up_at:
                return await self._lose("the server could not be reached in time to renew it")
            try:
                answer = await self._scheduler.RenewLease(request, timeout=tenure.call_timeout(sent_at))
                lease.message = answer.lease
                tenure.renewed(sent_at)
                troubled = False
            except grpc.RpcError as error:
                failure = error_from(error)
                if isinstance(failure, (LeaseGone, InvalidRequest)):
                    return await self._lose(str(failure))
                tenure.failed(now())
                if not troubled:
                    log.warning("the lease %s could not be renewed (%s); trying again", lease.id, failure)
                troubled = True

    async def _watch(self) -> None:
        lease = self._lease
        # Whoever gives the token can be asked to give the memory back; without it one only looks on.
        token = 0 if self._wishes.on_eviction is None else lease.token
        request = scheduler_pb2.WatchLeaseRequest(lease_id=lease.id, token=token)
        while not lease.lost and not lease._over:
            try:
                async for message in self._scheduler.WatchLease(request):
                    if await self._heard(message):
                        return
            except grpc.RpcError as error:
                # The renewal tells the program of a lease that is gone.
                if isinstance(error_from(error), (LeaseGone, InvalidRequest)):
                    return
            await asyncio.sleep(_LISTEN_AGAIN)

    async def _heard(self, message: scheduler_pb2.WatchLeaseResponse) -> bool:
        """True when there is nothing more to hear. Events of a newer server are passed over."""
        event = message.WhichOneof("event")
        if event == "eviction_requested":
            asked = eviction_from(message.eviction_requested)
            self._lease._eviction = asked
            await self._tell(self._wishes.on_eviction, asked)
        elif event == "snapshot" and message.snapshot.lease.state != types_pb2.LEASE_STATE_EVICTING:
            self._lease._eviction = None
        elif event == "ended":
            await self._lose(why_ended(message.ended.why))
            return True
        return False

    async def _lose(self, why: str) -> None:
        if self._lease.lost or self._lease._over:
            return
        self._lease._why_lost = why
        log.warning(
            "the lease %s is lost: %s. The program goes on, but its memory is no longer reserved; others may be admitted to it",
            self._lease.id,
            why,
        )
        await self._tell(self._wishes.on_lost, why)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def _tell(self, function: Optional[Any], news: Any) -> None:
        if function is None or self._lease._over:
            return
        try:
            answer = function(self._lease, news)
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            # It must not end the task that keeps the lease.
            log.exception("a callback of the program failed")
