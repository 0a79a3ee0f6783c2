"""Showing a wait: in a terminal, in a notebook, or to a function."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from typing import Any, Callable, Optional, Union

from ._tenure import now
from .told import Waiting

Progress = Union[bool, Callable[[Waiting], Any]]
"""True: a line in the terminal, a cell in a notebook, lines in a log file. A function is called on each change."""

_log = logging.getLogger("sluice")


class Display:
    """Shows nothing; what the others build on."""

    def update(self, waiting: Waiting) -> None:
        """The request stands so now."""
        _log.info("%s", waiting)

    def close(self) -> None:
        """The wait is over."""


def display_for(progress: Progress) -> Display:
    """The display that fits to where this runs."""
    if callable(progress):
        return _Called(progress)
    if not progress:
        return Display()
    if _in_notebook():
        return _Notebook()
    return _Line() if sys.stderr.isatty() else _Lines()


class _Called(Display):
    def __init__(self, function: Callable[[Waiting], Any]) -> None:
        self._function = function

    def update(self, waiting: Waiting) -> None:
        self._function(waiting)


class _Line(Display):
    """One line of the terminal, drawn again on each change and each second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._waiting: Optional[Waiting] = None
        self._told_at = 0.0
        self._ticker: Optional[threading.Thread] = None

    def update(self, waiting: Waiting) -> None:
        with self._lock:
            self._waiting, self._told_at = waiting, now()
            self._draw()
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, name="sluice-wait-line", daemon=True)
            self._ticker.start()

    def close(self) -> None:
        self._over.set()
        with self._lock:
            if self._waiting is not None:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
            self._waiting = None

    def _tick(self) -> None:
        while not self._over.wait(1.0):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        if self._waiting is None:
            return
        # One column less than there is: a full line would make some terminals begin another.
        text = f"sluice: {self._waiting.text(now() - self._told_at)}"[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()


class _Lines(Display):
    """A line of its own whenever place or reasons change, at most one in 5 seconds: logs should stay readable."""

    def __init__(self) -> None:
        self._told = ""
        self._told_at = float("-inf")

    def update(self, waiting: Waiting) -> None:
        news = f"{waiting.position} {waiting.queue_length} {[reason.message for reason in waiting.reasons]}"
        if news == self._told or now() - self._told_at < 5:
            return
        self._told, self._told_at = news, now()
        print(f"sluice: {waiting}", file=sys.stderr, flush=True)


class _Notebook(Display):
    """One output of the cell, replaced on each change."""

    def __init__(self) -> None:
        self._handle: Any = None

    def update(self, waiting: Waiting) -> None:
        self._show(str(waiting))

    def close(self) -> None:
        if self._handle is not None:
            self._show("the wait is over")

    def _show(self, text: str) -> None:
        content = {"text/plain": f"sluice: {text}"}
        if self._handle is None:
            from IPython.display import display  # type: ignore[import-not-found]

            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def _in_notebook() -> bool:
    # Only where it is loaded: a plain script never pays for IPython.
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_ipython is None else get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"
