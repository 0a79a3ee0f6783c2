"""Where the server is, and how a connection to it is set up."""

from __future__ import annotations

import os
from typing import Any, Optional

DEFAULT_ADDRESS = "127.0.0.1:50051"
_MAX_RECEIVE_BYTES = 64 * 1024 * 1024


def address_of(address: Optional[str]) -> str:
    """host:port or unix:/path: what is given, else SLUICE_ADDRESS, else the default."""
    return address or os.environ.get("SLUICE_ADDRESS") or DEFAULT_ADDRESS


def is_local(address: str) -> bool:
    """True when the server is on this machine, so that it knows this process by its pid."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def channel_options(address: str, keepalive: float) -> list[tuple[str, Any]]:
    """Options of the channel. keepalive is in seconds; the peer is given half of it, at least a second, to answer."""
    answer_ms = int(max(1.0, keepalive / 2) * 1000)
    options: list[tuple[str, Any]] = [
        ("grpc.keepalive_time_ms", int(keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", answer_ms),
        # Without this one, gRPC 1.74 waits a minute for the answer, whatever the line above says.
        ("grpc.http2.ping_timeout_ms", answer_ms),
        # A wait can be silent for long, and is where a dead line must be noticed.
        ("grpc.http2.max_pings_without_data", 0),
        # The default of 4 MiB is less than a long queue with long labels.
        ("grpc.max_receive_message_length", _MAX_RECEIVE_BYTES),
        # Whoever waits should be back soon after the server is, not after two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        # How long one attempt to connect may take, in spite of its name; a busy machine needs more than the pause between two.
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Two clients in one process must not share a line: when one drops it, the other would lose it too.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if is_local(address):
        # A proxy from the environment cannot reach this machine's own loopback.
        options.append(("grpc.enable_http_proxy", 0))
    return options
