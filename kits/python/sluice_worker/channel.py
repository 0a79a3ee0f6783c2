"""Lines of JSON in both directions, over file descriptors that nothing else in the process uses."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

#: Longest line of the protocol, in bytes, without its end.
MAX_LINE = 4 * 1024 * 1024


class NotJson(Exception):
    """A message cannot be sent as it is. The text says why."""


class Channel:
    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._writing = threading.Lock()

    def lines(self) -> Iterator[bytes | None]:
        """Every line until the server is gone; None for one that is too long, of which nothing is kept."""
        line = bytearray()
        dropping = False
        while True:
            chunk = os.read(self._read_fd, 65536)
            if not chunk:
                return
            *ended, rest = chunk.split(b"\n")
            for piece, is_end in [*((piece, True) for piece in ended), (rest, False)]:
                if dropping:
                    dropping = not is_end
                elif len(line) + len(piece) > MAX_LINE:
                    line.clear()
                    dropping = not is_end
                    yield None
                else:
                    line += piece
                    if is_end:
                        whole = bytes(line)
                        line.clear()
                        yield whole

    def send(self, message: dict[str, Any]) -> None:
        """Sends one message, whole. Raises NotJson before anything is written, and OSError when the server is gone."""
        rest = memoryview(_encode({"jsonrpc": "2.0", **message}) + b"\n")
        if len(rest) - 1 > MAX_LINE:
            raise NotJson(f"it is {len(rest) - 1} bytes long as JSON, and a line of the protocol at most {MAX_LINE}")
        with self._writing:
            while rest:
                rest = rest[os.write(self._write_fd, rest) :]

    def close(self) -> None:
        """Lets go of both ends, in a forked child: the server must see that the worker has ended, whoever is left."""
        os.close(self._read_fd)
        os.close(self._write_fd)


def _encode(message: dict[str, Any]) -> bytes:
    try:
        try:
            return json.dumps(message, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            # Half a surrogate pair, as os.fsdecode leaves it: JSON can say it, UTF-8 cannot.
            return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        # Python names the number only since 3.12.
        floats = str(error).startswith("Out of range float")
        raise NotJson("it holds NaN or Infinity" if floats else str(error)) from error


def take_stdio() -> Channel:
    """Keeps stdin and stdout of the process for the protocol. From here on what is printed, also by C libraries and child
    processes, goes to stderr, and whoever reads stdin finds it empty."""
    channel = Channel(os.dup(0), os.dup(1))
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Flushes as well what was printed before: half a line would have spoilt the first message.
        sys.stdout.reconfigure(line_buffering=True)
    return channel
