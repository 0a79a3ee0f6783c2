"""The same for asyncio: ``async with sluice.aio.connect().resources(vram_mb=4096) as lease``.

Callbacks (on_lost, on_eviction, progress) may be functions or coroutine functions; they run in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Mapping, Optional

import grpc
import grpc.aio
from google.protobuf import json_format, struct_pb2

from ._aio_keeper import Keeper
from ._channel import address_of, channel_options, is_local
from ._environment import Environment
from ._held import HeldLease, log
from ._progress import display_for
from ._request import Request, duration, named, new_request_id
from ._tenure import now
from ._wait_rules import Patience, meaning, no_answer
from .client import failure_from
from .errors import Failed, SluiceError, Unreachable, error_from, refused
from .lease import Wishes
from .told import Waiting
from .v1 import executor_pb2, executor_pb2_grpc, monitor_pb2_grpc, scheduler_pb2, scheduler_pb2_grpc, types_pb2

_FAREWELL = 3.0


def connect(address: Optional[str] = None, *, keepalive: float = 10.0) -> "Client":
    """A client for asyncio; see sluice.connect(). To be called where an event loop runs."""
    return Client(address, keepalive=keepalive)


class Lease(HeldLease):
    """A claim on named GPUs and on RAM that is renewed in the background until it is given back."""

    def __init__(self, message: types_pb2.Lease, client: "Client", wishes: Wishes, heard_at: float) -> None:
        super().__init__(message, client.address)
        self._scheduler = client.scheduler
        self._wishes = wishes
        self._pid = os.getpid()
        self._over = False
        self._execution = ""
        self._keeper = Keeper(self, client.scheduler, wishes, heard_at)

    async def _begin(self) -> "Lease":
        request = scheduler_pb2.AttachProcessRequest(lease_id=self.id, token=self.token, pid=self._pid)
        # Both calls at a time: whoever has waited should begin soon. In grpc.aio a call begins before it is awaited.
        attach = self._wishes.attach and is_local(self._address)
        attaching = self._scheduler.AttachProcess(request, timeout=_FAREWELL) if attach else None
        if self._wishes.on_eviction is None:
            self._execution = await self._start_execution()
        if attaching is not None:
            try:
                await attaching
            except grpc.RpcError as error:
                log.info("this process was not attached to lease %s: %s", self.id, error_from(error))
        self._keeper.start()
        return self

    @contextlib.asynccontextmanager
    async def executing(self) -> AsyncIterator[None]:
        """Work on the lease; see sluice.Lease.executing()."""
        execution = await self._start_execution()
        try:
            yield
        finally:
            await self._finish_execution(execution)

    async def release(self) -> None:
        """Gives the lease back. Does nothing the second time, and never raises: at worst the lease ends by itself."""
        if self._over or os.getpid() != self._pid:
            return
        self._over = True
        await self._keeper.stop()
        if self.lost:
            return
        if self._execution:
            await self._finish_execution(self._execution)
        request = scheduler_pb2.ReleaseLeaseRequest(lease_id=self.id, token=self.token)
        try:
            await _again(lambda limit: self._scheduler.ReleaseLease(request, timeout=limit), _FAREWELL)
        except SluiceError as error:
            log.warning("lease %s could not be given back (%s); it ends by itself when it is not renewed", self.id, error)

    async def _start_execution(self) -> str:
        request = scheduler_pb2.StartExecutionRequest(lease_id=self.id, token=self.token)
        answer = await _again(lambda limit: self._scheduler.StartExecution(request, timeout=limit), 10.0)
        return str(answer.execution_id)

    async def _finish_execution(self, execution: str) -> None:
        request = scheduler_pb2.FinishExecutionRequest(lease_id=self.id, execution_id=execution)
        try:
            await _again(lambda limit: self._scheduler.FinishExecution(request, timeout=limit), _FAREWELL)
        except SluiceError as error:
            log.info("the end of execution %s was not told: %s", execution, error)


class Resources:
    """Resources that are asked for. `async with` waits for them, sets the environment, and gives them back."""

    def __init__(self, client: "Client", request: Request, wishes: Wishes) -> None:
        self._client = client
        self._request = request
        self._wishes = wishes
        self._lease: Optional[Lease] = None
        self._environment: Optional[Environment] = None

    async def acquire(self) -> Lease:
        """Waits and answers the lease, which has to be given back by release(). Leaves the environment alone."""
        request = named(self._request)
        message = await (self._wait(request) if self._wishes.wait else self._allocate(request))
        try:
            return await Lease(message, self._client, self._wishes, now())._begin()
        except BaseException:
            farewell = scheduler_pb2.ReleaseLeaseRequest(lease_id=message.id, token=message.token)
            with contextlib.suppress(grpc.RpcError):
                await self._client.scheduler.ReleaseLease(farewell, timeout=_FAREWELL)
            raise

    async def __aenter__(self) -> Lease:
        if self._lease is not None:
            raise RuntimeError("these resources are held already; ask for others")
        self._lease = await self.acquire()
        if self._wishes.set_environment:
            self._environment = Environment(self._lease.env)
            self._environment.set()
        return self._lease

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        lease, self._lease = self._lease, None
        environment, self._environment = self._environment, None
        if environment is not None:
            environment.restore()
        if lease is not None:
            # Also when the task is being cancelled: the lease is given back all the same.
            await asyncio.shield(lease.release())

    async def _allocate(self, request: Request) -> types_pb2.Lease:
        message = request.allocate()
        answer = await _again(lambda limit: self._client.scheduler.Allocate(message, timeout=limit), 10.0)
        if answer.WhichOneof("outcome") == "lease":
            return answer.lease  # type: ignore[no-any-return]
        raise refused(answer.refusal)

    async def _wait(self, request: Request) -> types_pb2.Lease:
        display = display_for(_in_loop(self._wishes.progress))
        patience = Patience(request)
        ticket = ""
        call: Any = None
        try:
            while True:
                call = self._client.scheduler.WaitForResources(request.wait(patience.left()))
                try:
                    async for message in call:
                        patience.heard()
                        ticket = message.ticket_id
                        told = meaning(message)
                        if isinstance(told, types_pb2.Lease):
                            return told
                        if isinstance(told, Waiting):
                            display.update(told)
                    failure: SluiceError = no_answer()
                except grpc.RpcError as error:
                    failure = error_from(error)
                await asyncio.sleep(patience.pause(failure))
        except SluiceError:
            raise
        except BaseException:
            # With a request_id the server would keep the place of a client that only went away.
            if ticket:
                with contextlib.suppress(grpc.RpcError):
                    cancel = scheduler_pb2.CancelTicketRequest(ticket_id=ticket)
                    await self._client.scheduler.CancelTicket(cancel, timeout=1.0)
            raise
        finally:
            if call is not None:
                call.cancel()
            display.close()


class Client:
    """A connection for one event loop. `async with` closes it."""

    def __init__(self, address: Optional[str] = None, *, keepalive: float = 10.0) -> None:
        self.address = address_of(address)
        self.channel = grpc.aio.insecure_channel(self.address, options=channel_options(self.address, keepalive))
        self.scheduler: Any = scheduler_pb2_grpc.SchedulerServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self.executor: Any = executor_pb2_grpc.ExecutorServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self.monitor: Any = monitor_pb2_grpc.MonitorServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def resources(
        self,
        *,
        wait: bool = True,
        progress: Any = False,
        on_eviction: Optional[Callable[..., Any]] = None,
        on_lost: Optional[Callable[..., Any]] = None,
        set_environment: bool = True,
        attach: bool = True,
        **asked: Any,
    ) -> Resources:
        """Resources to be held by `async with`. Takes what sluice.Client.resources() takes."""
        wishes = Wishes(wait, progress, on_eviction, on_lost, set_environment, attach)
        return Resources(self, Request(**{key: value for key, value in asked.items() if value is not None}), wishes)

    async def explain(self, *, policy: str = "", **asked: Any) -> scheduler_pb2.ExplainResponse:
        """Whether resources would be granted now, and if not, why not and what would be."""
        request = scheduler_pb2.ExplainRequest(workload=Request(**asked).workload(), policy=policy)
        try:
            return await self.scheduler.Explain(request, timeout=10.0)  # type: ignore[no-any-return]
        except grpc.RpcError as error:
            raise error_from(error) from error

    async def execute(
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
        """Runs a plugin and answers its result; see sluice.Client.execute()."""
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
            async for message in call:
                if on_event is not None:
                    await _awaited(on_event(message))
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

    async def close(self) -> None:
        """Ends the connection. Calls of your own through the stubs are yours to cancel: grpc.aio keeps the line for them."""
        await self.channel.close(None)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _in_loop(progress: Any) -> Any:
    """A display is called and not awaited, so a coroutine becomes a task."""
    if not inspect.iscoroutinefunction(progress):
        return progress
    tasks: set[Any] = set()

    def call(waiting: Waiting) -> None:
        task = asyncio.ensure_future(progress(waiting))
        # The loop itself holds tasks only weakly.
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return call


async def _again(call: Callable[[float], Any], limit: float) -> Any:
    """Calls, and again while the server is away. What is called must bear being called twice for one effect."""
    until = now() + limit
    pause = 0.1
    while True:
        try:
            return await call(max(0.1, until - now()))
        except grpc.RpcError as error:
            failure = error_from(error)
            if not isinstance(failure, Unreachable) or now() + pause > until:
                raise failure from error
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 2)
