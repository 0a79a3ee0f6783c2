"""What a plugin author writes."""

from __future__ import annotations

from typing import Any

from .context import Context


class Worker:
    """A plugin that stays. Overrides execute(), and whatever else it needs.

    sluice calls initialize() once and then execute() as often as somebody asks, in up to max_concurrency threads at the same
    time. With a max_concurrency of 1 initialize(), execute() and release() all run in the same thread.
    """

    def initialize(self, ctx: Context) -> None:
        """Loads the model. Call ctx.progress() now and then: a start that shows no progress for long counts as failed."""

    def execute(self, arguments: Any, ctx: Context) -> Any:
        """Answers one execution. The result must be JSON: dicts, lists, strings, finite numbers, booleans or None.

        An exception fails this execution only; see errors.py for those that say more.
        """
        raise NotImplementedError("the worker has no execute()")

    def release(self) -> None:
        """Gives memory back but lives on; the next execute() loads the model again. Called only while nothing runs.

        sluice calls it only when a subclass overrides it.
        """

    def shutdown(self) -> None:
        """Last words, such as closing files; a second at most when the server is gone, a few seconds else.

        Called once, if initialize() had returned, from a thread of its own. Executions may still be under way.
        """
