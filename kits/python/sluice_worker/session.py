"""Answers the server's requests."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, NoReturn

from .channel import Channel, NotJson
from .context import Context
from .errors import error_of
from .rpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Call,
    Id,
    Refused,
    is_id,
    parse,
    rpc_error,
)
from .worker import Worker

PROTOCOL = 1


class Session:
    """new -> loading -> ready; or it stays at loading when initialize() failed, and the server ends the worker.

    Requests are read in the main thread. initialize(), execute() and release() run in the pool, so that the end of stdin and a
    cancellation are heard meanwhile.
    """

    def __init__(self, worker: Worker, channel: Channel) -> None:
        self._worker = worker
        self._channel = channel
        self._setup: dict[str, Any] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._ready = False
        self._running: dict[Id, Context] = {}
        self._lock = threading.Lock()
        self._shutdown_id: Id | None = None
        self._ending = threading.Lock()
        self._ended = threading.Event()

    def serve(self) -> bool:
        """Returns True when the server asked for the end, and False when it is gone."""
        for line in self._channel.lines():
            try:
                if line is None:
                    raise Refused(None, PARSE_ERROR, "The line is longer than 4 MiB.")
                call = parse(line) if line.strip() else None
                if call is not None and self._handle(call):
                    return True
            except Refused as refused:
                self._send({"id": refused.call_id, "error": refused.error})
        return False

    def end(self, seconds: float) -> NoReturn:
        """Ends the process once shutdown() has returned, after so many seconds at most. May be called by several threads."""
        if self._ending.acquire(blocking=False):
            threading.Thread(target=self._last_words, daemon=True).start()
        self._ended.wait(seconds)
        os._exit(0)

    def _last_words(self) -> None:
        answer: dict[str, Any] = {"result": None}
        try:
            if self._ready:
                self._worker.shutdown()
        except BaseException as error:
            answer = {"error": error_of(error)}
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            if self._shutdown_id is not None:
                self._channel.send({"id": self._shutdown_id, **answer})
        except Exception:
            pass  # Nobody is left to hear it.
        self._ended.set()

    def _handle(self, call: Call) -> bool:
        """True when it asks for the end."""
        if call.id is None:
            if call.method == "$/cancelRequest" and isinstance(call.params, dict):
                self._cancel(call.params.get("id"))
            return False
        if call.method == "shutdown":
            self._shutdown_id = call.id
            return True
        if call.method not in ("initialize", "execute", "release"):
            raise Refused(call.id, METHOD_NOT_FOUND, f"There is no method {call.method[:200]!r}.")
        if not isinstance(call.params, dict):
            raise Refused(call.id, INVALID_PARAMS, "The params must be an object.")
        if call.method == "initialize":
            self._initialize(call.id, call.params)
        elif not self._ready:
            raise Refused(call.id, INVALID_REQUEST, "The worker is not ready: initialize comes first and has to succeed.")
        elif call.method == "execute":
            self._execute(call.id, call.params)
        else:
            self._release(call.id)
        return False

    def _initialize(self, call_id: Id, params: dict[str, Any]) -> None:
        if self._setup is not None:
            raise Refused(call_id, INVALID_REQUEST, "initialize comes only once.")
        asked = params.get("protocol")
        if asked != PROTOCOL:
            message = f"This sluice_worker speaks protocol {PROTOCOL}, the server asks for {asked!r}: update sluice_worker."
            raise Refused(call_id, INVALID_PARAMS, message)
        plugin, lease, most = params.get("plugin"), params.get("lease"), params.get("max_concurrency")
        if not isinstance(plugin, dict) or not isinstance(lease, dict) or type(most) is not int or most < 1:
            message = "initialize needs plugin and lease (objects), and max_concurrency (at least 1)."
            raise Refused(call_id, INVALID_PARAMS, message)
        self._setup = {"plugin": plugin, "lease": lease, "max_concurrency": most}
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="sluice")

        def load(ctx: Context) -> dict[str, Any]:
            self._worker.initialize(ctx)
            # Set before the answer, so that a request right after it is not refused.
            self._ready = True
            return {"capabilities": {"release": type(self._worker).release is not Worker.release}}

        self._start(call_id, None, load)

    def _execute(self, call_id: Id, params: dict[str, Any]) -> None:
        execution_id = params.get("execution_id")
        if not isinstance(execution_id, str) or "arguments" not in params:
            raise Refused(call_id, INVALID_PARAMS, "execute needs execution_id (a string) and arguments.")

        def work(ctx: Context) -> Any:
            # It may have been given up while it waited for a thread.
            ctx.check_cancelled()
            return self._worker.execute(params["arguments"], ctx)

        self._start(call_id, execution_id, work)

    def _release(self, call_id: Id) -> None:
        with self._lock:
            busy = len(self._running)
        if busy > 0:
            raise Refused(call_id, INVALID_REQUEST, f"release comes only when nothing runs; under way: {busy}.")

        def release(_ctx: Context) -> None:
            self._worker.release()

        self._start(call_id, None, release)

    def _start(self, call_id: Id, execution_id: str | None, work: Callable[[Context], Any]) -> None:
        assert self._setup is not None and self._pool is not None
        ctx = Context(self._notify, self._setup, execution_id)
        with self._lock:
            self._running[call_id] = ctx
        self._pool.submit(self._run, call_id, ctx, work)

    def _run(self, call_id: Id, ctx: Context, work: Callable[[Context], Any]) -> None:
        answer: dict[str, Any]
        try:
            answer = {"result": work(ctx)}
        except BaseException as error:
            answer = {"error": error_of(error)}
        # Before the answer: nothing is said about a call after it, and the next request finds this one gone.
        ctx._end()
        with self._lock:
            self._running.pop(call_id, None)
        try:
            self._send({"id": call_id, **answer})
        except NotJson as error:
            message = f"The result cannot be sent: {error}. Answer dicts, lists, strings, finite numbers, booleans or None."
            self._send({"id": call_id, "error": rpc_error(INTERNAL_ERROR, message)})

    def _cancel(self, call_id: Any) -> None:
        with self._lock:
            ctx = self._running.get(call_id) if is_id(call_id) else None
        if ctx is not None:
            ctx._cancel()

    def _notify(self, method: str, params: dict[str, Any]) -> None:
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(message)
        except OSError:
            self.end(1.0)  # The server is gone.
