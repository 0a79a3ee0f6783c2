"""The environment that a lease sets, and how it was before."""

from __future__ import annotations

import logging
import os
import sys
from typing import Mapping, Optional

_log = logging.getLogger("sluice")


class Environment:
    """Sets variables of this process, and later puts back what was there. The environment is the whole process's: two leases
    at the same time in two threads see each other's."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._before: dict[str, Optional[str]] = {}

    def set(self) -> None:
        """Sets the variables."""
        if "CUDA_VISIBLE_DEVICES" in self._variables and _cuda_is_initialised():
            _log.warning("CUDA is in use already: CUDA_VISIBLE_DEVICES of the lease has no effect on this process")
        for name, value in self._variables.items():
            self._before[name] = os.environ.get(name)
            os.environ[name] = value

    def restore(self) -> None:
        """Puts back what was there. A variable that somebody else has changed meanwhile stays as it is."""
        for name, before in self._before.items():
            if os.environ.get(name) != self._variables[name]:
                continue
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
        self._before.clear()


def _cuda_is_initialised() -> bool:
    # Asked of what is loaded already; importing torch for it would take seconds.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    try:
        return bool(cuda is not None and cuda.is_initialized())
    except Exception:  # a module that is only half loaded
        return False
