"""Waits for GPU memory, holds it while your code runs, and gives it back.

    import sluice

    with sluice.connect().resources(vram_mb=4096, name="whisper") as lease:
        ...  # CUDA_VISIBLE_DEVICES names the GPUs of the lease

Sizes are MiB and times are seconds, everywhere. For asyncio the same names are in ``sluice.aio``.
"""

from __future__ import annotations

from . import aio
from .client import Client, connect
from .errors import (
    Draining,
    Failed,
    InvalidRequest,
    LeaseGone,
    LeaseLost,
    NeverFits,
    QueueFull,
    Refused,
    SluiceError,
    TicketCancelled,
    TimedOut,
    Unreachable,
)
from .lease import Lease, Resources
from .told import EvictionRequest, Waiting
from .v1.types_pb2 import Reason

__all__ = [
    "Client",
    "Draining",
    "EvictionRequest",
    "Failed",
    "InvalidRequest",
    "Lease",
    "LeaseGone",
    "LeaseLost",
    "NeverFits",
    "QueueFull",
    "Reason",
    "Refused",
    "Resources",
    "SluiceError",
    "TicketCancelled",
    "TimedOut",
    "Unreachable",
    "Waiting",
    "aio",
    "connect",
]

__version__ = "0.1.0"
