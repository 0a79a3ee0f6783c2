"""Plays one scenario of test/clients/scenarios.yaml with the sync client. test/clients/README.md says what the words mean."""

from __future__ import annotations

import json
import os
import queue
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Callable, Optional

import grpc

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
ENDED = object()


class Stream:
    """A server stream that is read only when a step asks for it, so that back-pressure is real."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._pool = ThreadPoolExecutor(1)
        self._pending: Optional[Future[Any]] = None

    def read(self, within: float) -> Any:
        """The next message, or ENDED. Raises grpc.RpcError as the stream ends with, or Mismatch when nothing comes in time."""
        if self._pending is None:
            self._pending = self._pool.submit(lambda: next(self.call, ENDED))
        try:
            message = self._pending.result(max(0.0, within))
        except FutureTimeout:
            raise Mismatch("nothing came in time") from None
        except grpc.RpcError:
            self._pending = None
            raise
        self._pending = None
        return message


class Hold:
    """Resources that are held through the hand-written layer, and what it told about them."""

    def __init__(self, client: sluice.Client, fields: dict[str, Any]) -> None:
        self.told: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        arguments = hold_arguments(fields)
        if fields.get("evictable"):
            arguments["on_eviction"] = lambda _, asked: self.told.put(("eviction_requested", {"reason": asked.reason}))
        self.resources = client.resources(
            **arguments,
            progress=lambda waiting: self.told.put(("waiting", waiting_json(waiting))),
            on_lost=lambda _, why: self.told.put(("lost", {"why": why})),
        )
        self.lease: Optional[sluice.Lease] = None

    def enter(self) -> dict[str, Any]:
        self.lease = self.resources.__enter__()
        return to_json(self.lease.message)


class Player:
    """The world of one scenario."""

    def __init__(self, scenario: dict[str, Any], doors: dict[str, str]) -> None:
        self.saved: dict[str, Any] = {"runner": {"pid": os.getpid()}, "doors": doors}
        self.streams: dict[str, Stream] = {}
        self.holds: dict[str, Hold] = {}
        self.background: dict[str, Future[Any]] = {}
        self.marks: dict[str, float] = {}
        self.pool = ThreadPoolExecutor(16)
        self.clients: dict[str, sluice.Client] = {}
        for name, how in (scenario.get("clients") or {"main": {}}).items():
            keepalive = how.get("keepalive_ms", 10_000) / 1000
            self.clients[name] = sluice.connect(doors[how.get("door", "grpc")], keepalive=keepalive)

    def play(self, steps: list[Step], path: str = "") -> None:
        for index, step in enumerate(steps, 1):
            where = f"{path}{index}"
            word = next(iter(step))
            if word == "repeat":
                for turn in range(step["repeat"]):
                    self.play(step["steps"], f"{where}[{turn}].")
                continue
            try:
                getattr(self, f"do_{word}")(resolve(step, self.saved))
            except Mismatch as error:
                raise Mismatch(f"step {where} ({word} {step[word]}): {error}") from None

    def client(self, step: Step) -> sluice.Client:
        return self.clients[step["client"]] if "client" in step else next(iter(self.clients.values()))

    def judge(self, step: Step, act: Callable[[], dict[str, Any]]) -> None:
        """Acts, and compares what came of it with expect or error."""
        try:
            answer = act()
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

    def start_or_judge(self, step: Step, act: Callable[[], dict[str, Any]]) -> None:
        if "in_background" in step:
            self.background[step["in_background"]] = self.pool.submit(act)
        else:
            self.judge(step, act)

    # The words.

    def do_call(self, step: Step) -> None:
        attribute, descriptor = method_of(step["call"])
        stub = getattr(getattr(self.client(step), attribute), descriptor.name)
        request = request_of(descriptor, step.get("with"))
        timeout = step.get("deadline_ms", PATIENCE_MS) / 1000

        def act() -> dict[str, Any]:
            # While a server is away, a call that waits for the line is what makes it.
            return to_json(stub(request, timeout=timeout, wait_for_ready="until_ms" in step))

        start = time.monotonic()
        while "for_ms" in step and time.monotonic() - start < step["for_ms"] / 1000:
            self.judge(step, act)
            time.sleep(0.05)
        while "until_ms" in step:
            try:
                return self.judge(step, act)
            except Mismatch:
                if time.monotonic() - start > step["until_ms"] / 1000:
                    raise
                time.sleep(0.05)
        self.start_or_judge(step, act)

    def do_await(self, step: Step) -> None:
        future = self.background.pop(step["await"])
        within = step.get("within_ms", PATIENCE_MS) / 1000

        def act() -> dict[str, Any]:
            try:
                return future.result(within)  # type: ignore[no-any-return]
            except FutureTimeout:
                raise Mismatch("it is not over in time") from None

        self.judge(step, act)

    def do_open(self, step: Step) -> None:
        attribute, descriptor = method_of(step["open"])
        stub = getattr(getattr(self.client(step), attribute), descriptor.name)
        timeout = step["deadline_ms"] / 1000 if "deadline_ms" in step else None
        self.streams[step["as"]] = Stream(stub(request_of(descriptor, step.get("with")), timeout=timeout))

    def do_next(self, step: Step) -> None:
        self._until(step, step["next"], at_most=1)

    def do_until(self, step: Step) -> None:
        self._until(step, step["until"], at_most=step.get("at_most", sys.maxsize))

    def _until(self, step: Step, name: str, at_most: int) -> None:
        end = time.monotonic() + step.get("within_ms", PATIENCE_MS) / 1000
        last: Any = None
        for _ in range(at_most):
            try:
                message = self.streams[name].read(end - time.monotonic())
            except grpc.RpcError as error:
                raise Mismatch(f"the stream failed: {short(rpc_error(error))}; before: {short(last)}") from None
            except Mismatch as error:
                raise Mismatch(f"{error}; the last message was {short(last)}") from None
            if message is ENDED:
                raise Mismatch(f"the stream ended; the last message was {short(last)}")
            last = to_json(message)
            if matches(step["expect"], last):
                return self.save(step, last)
        match(step["expect"], last, "message")

    def do_ends(self, step: Step) -> None:
        def act() -> dict[str, Any]:
            message = self.streams[step["ends"]].read(step.get("within_ms", PATIENCE_MS) / 1000)
            if message is not ENDED:
                raise Mismatch(f"wanted the end of the stream, got {short(to_json(message))}")
            return {}

        self.judge(step, act)

    def do_cancel(self, step: Step) -> None:
        self.streams[step["cancel"]].call.cancel()

    def do_drop(self, step: Step) -> None:
        self.clients[step["drop"]].close()

    def do_driver(self, step: Step) -> None:
        ask_driver(step["driver"])

    def do_hold(self, step: Step) -> None:
        hold = Hold(self.client(step), step["hold"])
        self.holds[step["as"]] = hold
        self.start_or_judge(step, hold.enter)

    def do_told(self, step: Step) -> None:
        hold, wanted = self.holds[step["told"]], step["event"]
        end = time.monotonic() + step.get("within_ms", PATIENCE_MS) / 1000
        while True:
            try:
                event, news = hold.told.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Mismatch(f"{wanted} was not told in time") from None
            if event == wanted and matches(step.get("expect", {}), news):
                return self.save(step, news)

    def do_environment(self, step: Step) -> None:
        match(step["expect"], environment_of(), "environment")

    def do_release(self, step: Step) -> None:
        self.holds[step["release"]].resources.__exit__(None, None, None)

    def do_run(self, step: Step) -> None:
        events: list[str] = []

        def act() -> dict[str, Any]:
            hear = lambda message: events.append(message.WhichOneof("event") or "")  # noqa: E731
            result = self.client(step).execute(**step["run"], on_event=hear)
            return {"result": result, "events": events}

        self.start_or_judge(step, act)

    def do_mark(self, step: Step) -> None:
        self.marks[step["mark"]] = time.monotonic()

    def do_elapsed(self, step: Step) -> None:
        passed = (time.monotonic() - self.marks[step["elapsed"]]) * 1000
        match(step["expect"], passed, "ms")

    def do_check(self, step: Step) -> None:
        match(step["expect"], step["check"], "value")


def main() -> None:
    told = json.loads(sys.stdin.readline())
    try:
        Player(told["scenario"], told["doors"]).play(told["scenario"]["steps"])
        say({"passed": True})
    except Mismatch as error:
        say({"passed": False, "why": str(error)})
    # Streams that are still open, and threads that read them, end with the process.
    os._exit(0)


if __name__ == "__main__":
    main()
