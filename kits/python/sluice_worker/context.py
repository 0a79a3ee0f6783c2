"""What a worker can say and ask while it works."""

from __future__ import annotations

import math
import threading
from typing import Any, Callable

from .errors import Cancelled
from .rpc import MAX_TEXT

Notify = Callable[[str, dict[str, Any]], None]


class Context:
    """Belongs to one call of initialize() or execute(). May be used from any thread; says nothing more once the call is over."""

    def __init__(self, notify: Notify, setup: dict[str, Any], execution_id: str | None = None) -> None:
        #: Identity of the execution; None in initialize().
        self.execution_id = execution_id
        #: {"name": …, "version": …}
        self.plugin: dict[str, Any] = setup["plugin"]
        #: {"id": …, "token": …, "gpus": [{"uuid": …, "index": …, "vram_mb": …}], "system_ram_mb": …}
        self.lease: dict[str, Any] = setup["lease"]
        #: Executions at the same time, at most.
        self.max_concurrency: int = setup["max_concurrency"]
        self._notify = notify
        self._cancelled = threading.Event()
        self._over = False

    @property
    def cancelled(self) -> bool:
        """True once sluice asked to give this call up. A worker that has not answered 10 s later is ended."""
        return self._cancelled.is_set()

    def check_cancelled(self) -> None:
        """Raises Cancelled when sluice asked to give this call up. Call it between steps."""
        if self._cancelled.is_set():
            raise Cancelled()

    def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Tells how far it is: fraction from 0 to 1 when that is known."""
        params: dict[str, Any] = {}
        if fraction is not None:
            value = float(fraction)
            if not math.isnan(value):
                params["fraction"] = min(1.0, max(0.0, value))
        if message != "":
            params["message"] = str(message)[:MAX_TEXT]
        self._say("progress", params)

    def log(self, message: object) -> None:
        """Tells a line for the log of this execution."""
        self._say("log", {"message": str(message)[:MAX_TEXT]})

    def _say(self, method: str, params: dict[str, Any]) -> None:
        if self._over:
            return
        if self.execution_id is not None:
            params["execution_id"] = self.execution_id
        self._notify(method, params)

    def _cancel(self) -> None:
        self._cancelled.set()

    def _end(self) -> None:
        self._over = True
