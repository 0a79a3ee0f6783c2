"""Plays one scenario of test/clients/scenarios.yaml with the asyncio client. test/clients/README.md says what the words mean."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any, Awaitable, Callable, Optional

import grpc
import grpc.aio

import sluice
from scenario_words import (
    PATIENCE_MS,
    Mismatch,
    ask_driver,
    client_error,
    environment_of,
    hold_arguments,
    match,
    matches,
    method_of,
    request_of,
    resolve,
    rpc_error,
    say,
    short,
    to_json,
    waiting_json,
)

Step = dict[str, Any]


class Stream:
    """A server stream that is read only when a step asks for it, so that back-pressure is real."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._pending: Optional[asyncio.Future[Any]] = None

    async def read(self, within: float) -> Any:
        """The next message, or grpc.aio.EOF. Raises grpc.RpcError as the stream ends with, or Mismatch when nothing comes."""
        if self._pending is None:
            self._pending = asyncio.ensure_future(self.call.read())
        done, _ = await asyncio.wait({self._pending}, timeout=max(0.0, within))
        if not done:
            raise Mismatch("nothing came in time")
        pending, self._pending = self._pending, None
        return pending.result()


class Hold:
    """Resources that are held through the hand-written layer, and what it told about them."""

    def __init__(self, client: sluice.aio.Client, fields: dict[str, Any]) -> None:
        self.told: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        arguments = hold_arguments(fields)

        # One callback of each kind: a function, and a coroutine function.
        async def lost(_: Any, why: str) -> None:
            await self.told.put(("lost", {"why": why}))

        async def waiting(where: sluice.Waiting) -> None:
            await self.told.put(("waiting", waiting_json(where)))

        if fields.get("evictable"):
            arguments["on_eviction"] = lambda _, asked: self.told.put_nowait(("eviction_requested", {"reason": asked.reason}))
        self.resources = client.resources(**arguments, progress=waiting, on_lost=lost)

    async def enter(self) -> dict[str, Any]:
        lease = await self.resources.__aenter__()
        return to_json(lease.message)


class Player:
    """The world of one scenario."""

    def __init__(self, scenario: dict[str, Any], doors: dict[str, str]) -> None:
        self.saved: dict[str, Any] = {"runner": {"pid": os.getpid()}, "doors": doors}
        self.streams: dict[str, Stream] = {}
        self.holds: dict[str, Hold] = {}
        self.background: dict[str, asyncio.Future[Any]] = {}
        self.marks: dict[str, float] = {}
        self.calls: dict[int, list[Stream]] = {}
        self.clients: dict[str, sluice.aio.Client] = {}
        for name, how in (scenario.get("clients") or {"main": {}}).items():
            keepalive = how.get("keepalive_ms", 10_000) / 1000
            self.clients[name] = sluice.aio.connect(doors[how.get("door", "grpc")], keepalive=keepalive)

    async def play(self, steps: list[Step], path: str = "") -> None:
        for index, step in enumerate(steps, 1):
            where = f"{path}{index}"
            word = next(iter(step))
            if word == "repeat":
                for turn in range(step["repeat"]):
                    await self.play(step["steps"], f"{where}[{turn}].")
                continue
            try:
                await getattr(self, f"do_{word}")(resolve(step, self.saved))
            except Mismatch as error:
                raise Mismatch(f"step {where} ({word} {step[word]}): {error}") from None

    def client(self, step: Step) -> sluice.aio.Client:
        return self.clients[step["client"]] if "client" in step else next(iter(self.clients.values()))

    async def judge(self, step: Step, act: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """Acts, and compares what came of it with expect or error."""
        try:
            answer = await act()
        except grpc.RpcError as error:
            failure = rpc_error(error)
        except sluice.SluiceError as error:
            failure = client_error(error)
        else:
            if "error" in step:
                raise Mismatch(f"wanted an error, got {short(answer)}")
            match(step.get("expect", {}), answer)
            self.save(step, answer)
            return
        if "error" not in step:
            raise Mismatch(f"failed: {short(failure)}")
        match(step["error"], failure, "error")
        self.save(step, failure)

    def save(self, step: Step, answer: Any) -> None:
        name = step.get("save", step.get("as"))
        if name is not None:
            self.saved[name] = answer

    async def start_or_judge(self, step: Step, act: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        if "in_background" in step:
            self.background[step["in_background"]] = asyncio.ensure_future(act())
        else:
            await self.judge(step, act)

    # The words.

    async def do_call(self, step: Step) -> None:
        attribute, descriptor = method_of(step["call"])
        stub = getattr(getattr(self.client(step), attribute), descriptor.name)
        request = request_of(descriptor, step.get("with"))
        timeout = step.get("deadline_ms", PATIENCE_MS) / 1000

        async def act() -> dict[str, Any]:
            return to_json(await stub(request, timeout=timeout))

        start = time.monotonic()
        while "for_ms" in step and time.monotonic() - start < step["for_ms"] / 1000:
            await self.judge(step, act)
            await asyncio.sleep(0.05)
        while "until_ms" in step:
            try:
                return await self.judge(step, act)
            except Mismatch:
                if time.monotonic() - start > step["until_ms"] / 1000:
                    raise
                await asyncio.sleep(0.05)
        await self.start_or_judge(step, act)

    async def do_await(self, step: Step) -> None:
        future = self.background.pop(step["await"])

        async def act() -> dict[str, Any]:
            done, _ = await asyncio.wait({future}, timeout=step.get("within_ms", PATIENCE_MS) / 1000)
            if not done:
                raise Mismatch("it is not over in time")
            return future.result()  # type: ignore[no-any-return]

        await self.judge(step, act)

    async def do_open(self, step: Step) -> None:
        attribute, descriptor = method_of(step["open"])
        stub = getattr(getattr(self.client(step), attribute), descriptor.name)
        timeout = step["deadline_ms"] / 1000 if "deadline_ms" in step else None
        self.streams[step["as"]] = Stream(stub(request_of(descriptor, step.get("with")), timeout=timeout))
        self.calls.setdefault(id(self.client(step)), []).append(self.streams[step["as"]])

    async def do_next(self, step: Step) -> None:
        await self._until(step, step["next"], at_most=1)

    async def do_until(self, step: Step) -> None:
        await self._until(step, step["until"], at_most=step.get("at_most", sys.maxsize))

    async def _until(self, step: Step, name: str, at_most: int) -> None:
        end = time.monotonic() + step.get("within_ms", PATIENCE_MS) / 1000
        last: Any = None
        for _ in range(at_most):
            try:
                message = await self.streams[name].read(end - time.monotonic())
            except grpc.RpcError as error:
                raise Mismatch(f"the stream failed: {short(rpc_error(error))}; before: {short(last)}") from None
            except Mismatch as error:
                raise Mismatch(f"{error}; the last message was {short(last)}") from None
            if message is grpc.aio.EOF:
                raise Mismatch(f"the stream ended; the last message was {short(last)}")
            last = to_json(message)
            if matches(step["expect"], last):
                return self.save(step, last)
        match(step["expect"], last, "message")

    async def do_ends(self, step: Step) -> None:
        async def act() -> dict[str, Any]:
            message = await self.streams[step["ends"]].read(step.get("within_ms", PATIENCE_MS) / 1000)
            if message is not grpc.aio.EOF:
                raise Mismatch(f"wanted the end of the stream, got {short(to_json(message))}")
            return {}

        await self.judge(step, act)

    async def do_cancel(self, step: Step) -> None:
        self.streams[step["cancel"]].call.cancel()

    async def do_drop(self, step: Step) -> None:
        client = self.clients[step["drop"]]
        # grpc.aio keeps the line while a call is open that nobody reads just then.
        for stream in self.calls.get(id(client), []):
            stream.call.cancel()
        await client.close()

    async def do_driver(self, step: Step) -> None:
        # Leases are renewed meanwhile.
        await asyncio.to_thread(ask_driver, step["driver"])

    async def do_hold(self, step: Step) -> None:
        hold = Hold(self.client(step), step["hold"])
        self.holds[step["as"]] = hold
        await self.start_or_judge(step, hold.enter)

    async def do_told(self, step: Step) -> None:
        hold, wanted = self.holds[step["told"]], step["event"]
        end = time.monotonic() + step.get("within_ms", PATIENCE_MS) / 1000
        while True:
            try:
                event, news = await asyncio.wait_for(hold.told.get(), max(0.001, end - time.monotonic()))
            except asyncio.TimeoutError:
                raise Mismatch(f"{wanted} was not told in time") from None
            if event == wanted and matches(step.get("expect", {}), news):
                return self.save(step, news)

    async def do_environment(self, step: Step) -> None:
        match(step["expect"], environment_of(), "environment")

    async def do_release(self, step: Step) -> None:
        await self.holds[step["release"]].resources.__aexit__(None, None, None)

    async def do_run(self, step: Step) -> None:
        events: list[str] = []

        async def act() -> dict[str, Any]:
            hear = lambda message: events.append(message.WhichOneof("event") or "")  # noqa: E731
            result = await self.client(step).execute(**step["run"], on_event=hear)
            return {"result": result, "events": events}

        await self.start_or_judge(step, act)

    async def do_mark(self, step: Step) -> None:
        self.marks[step["mark"]] = time.monotonic()

    async def do_elapsed(self, step: Step) -> None:
        match(step["expect"], (time.monotonic() - self.marks[step["elapsed"]]) * 1000, "ms")

    async def do_check(self, step: Step) -> None:
        match(step["expect"], step["check"], "value")


async def main() -> None:
    told = json.loads(sys.stdin.readline())
    try:
        await Player(told["scenario"], told["doors"]).play(told["scenario"]["steps"])
        say({"passed": True})
    except Mismatch as error:
        say({"passed": False, "why": str(error)})
    # Streams that are still open end with the process.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
