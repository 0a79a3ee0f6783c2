"""Workers for sluice: load a model once, then answer one execution after the other.

Subclass Worker and hand an instance to run(). The wire is described in docs/workers.md of sluice.
"""

from .context import Context
from .errors import Cancelled, Fatal, InvalidArguments, OutOfMemory
from .main import run
from .worker import Worker

__all__ = ["Cancelled", "Context", "Fatal", "InvalidArguments", "OutOfMemory", "Worker", "run"]
__version__ = "0.1.0"
