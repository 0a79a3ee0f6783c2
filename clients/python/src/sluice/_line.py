"""Waiting for a line that is down."""

from __future__ import annotations

import time
from typing import Any

import grpc

from ._tenure import now


def pause(channel: Any, seconds: float) -> None:
    """Sleeps for so long, or until the line is there again.

    More than a sleep: the sync stack of gRPC connects only while somebody waits on the channel. With plain sleeps between calls
    that fail at once, a server that was back after a second was found after 5 to 20.
    """
    start = now()
    ready = grpc.channel_ready_future(channel)
    try:
        ready.result(timeout=seconds)
    except grpc.FutureTimeoutError:
        return
    finally:
        ready.cancel()
    # It was there all the time, and the server said no: that takes the whole pause.
    if now() - start < 0.01:
        time.sleep(seconds)
