"""The main loop: reads what the server asks in the main thread, and works in others."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from typing import NoReturn

from .channel import Channel, take_stdio
from .session import Session
from .worker import Worker

#: How long shutdown() may take, in seconds: sluice sends SIGTERM 5 s after the request, and waits for nobody once it is gone.
ASKED_S = 4.0
GONE_S = 1.0


class _Terminated(BaseException):
    """SIGTERM came."""


def run(worker: Worker) -> NoReturn:
    """Serves until the server says so, sends SIGTERM, or is gone; then the process ends. Call it from the main thread.

    On Linux the process is also killed when the thread that started it ends, so that nothing is left when the server is killed.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("call run() from the main thread: it handles signals")
    _die_with_parent()
    # Ctrl-C in a terminal is for the server, which then asks its workers to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    channel = take_stdio()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _forget(channel))
    session = Session(worker, channel)
    try:
        session.end(ASKED_S if session.serve() else GONE_S)
    except _Terminated:
        session.end(ASKED_S)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _terminated(_signal: int, _frame: object) -> NoReturn:
    # Once is enough, wherever the main thread is by then.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


def _forget(channel: Channel) -> None:
    """In a forked child, such as one of multiprocessing: it is not the worker."""
    channel.close()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _die_with_parent() -> None:
    if not sys.platform.startswith("linux"):
        return
    try:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    except Exception:
        pass  # The end of stdin says the same, if later.
