"""Errors that tell sluice what to do next, and how any other exception is told."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from .rpc import CANCELLED, FAILED, INVALID_PARAMS, OUT_OF_MEMORY, rpc_error


class OutOfMemory(Exception):
    """There is not enough memory. sluice ends the worker, makes room for what it needed, and tries once more.

    resource is "gpu" or "ram"; needed_mb how much the execution needs in all, in MiB, when that is known.
    """

    def __init__(self, resource: str = "gpu", needed_mb: float | None = None) -> None:
        if resource not in ("gpu", "ram"):
            raise ValueError('resource must be "gpu" or "ram"')
        super().__init__("Out of GPU memory." if resource == "gpu" else "Out of memory.")
        self.resource = resource
        self.needed_mb = needed_mb


class InvalidArguments(Exception):
    """The arguments are wrong; the message is told to the caller."""


class Fatal(Exception):
    """The worker is no good any more: this execution fails with the message, and sluice starts the worker anew."""


class Cancelled(Exception):
    """This execution is given up because sluice asked for that. ctx.check_cancelled() raises it."""


def error_of(error: BaseException) -> dict[str, Any]:
    """The JSON-RPC error of an exception. What nobody expected is also written to stderr, with its traceback."""
    if isinstance(error, Cancelled):
        return rpc_error(CANCELLED, str(error) or "The execution was cancelled.")
    if isinstance(error, InvalidArguments):
        return rpc_error(INVALID_PARAMS, str(error) or "The arguments are wrong.")
    if isinstance(error, Fatal):
        return rpc_error(FAILED, str(error) or "The worker is no good any more.", {"fatal": True})
    if isinstance(error, OutOfMemory):
        return rpc_error(OUT_OF_MEMORY, str(error), _memory(error.resource, error.needed_mb))
    _print_traceback(error)
    if isinstance(error, SystemExit):
        return rpc_error(FAILED, f"The worker called sys.exit({error.code!r}) instead of answering.", {"fatal": True})
    text = f"{type(error).__name__}: {_text(error)}"
    resource = _out_of_memory(error)
    return rpc_error(FAILED, text) if resource is None else rpc_error(OUT_OF_MEMORY, text, _memory(resource))


def _memory(resource: str, needed_mb: float | None = None) -> dict[str, Any]:
    return {"resource": resource} if needed_mb is None else {"resource": resource, "needed_mb": needed_mb}


_GPU_TEXT = re.compile(
    r"(CUDA|HIP) out of memory|(CUDA|HIP) error:? out of memory|cudaErrorMemoryAllocation|hipErrorOutOfMemory"
    r"|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED: Out of memory",
    re.IGNORECASE,
)
_RAM_TEXT = re.compile(r"DefaultCPUAllocator: (can't allocate|not enough) memory")


def _out_of_memory(error: BaseException) -> str | None:
    """Which memory an exception says is short. Frameworks are told by name and text, so that none has to be imported."""
    for one in _causes(error):
        if isinstance(one, OutOfMemory):
            return one.resource
        # Before MemoryError, which the one of CuPy is as well.
        if any(cls.__name__ == "OutOfMemoryError" for cls in type(one).__mro__):
            return "gpu"
        if isinstance(one, RuntimeError):
            text = _text(one)
            if _GPU_TEXT.search(text):
                return "gpu"
            if _RAM_TEXT.search(text):
                return "ram"
        if isinstance(one, MemoryError):
            return "ram"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    for _ in range(10):
        if one is None:
            return
        yield one
        one = one.__cause__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def _print_traceback(error: BaseException) -> None:
    try:
        traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    except Exception:
        pass  # stderr is gone or somebody's own object; the answer matters more.
