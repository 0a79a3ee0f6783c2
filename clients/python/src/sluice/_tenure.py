"""How long a lease is surely held, by this machine's own clock."""

from __future__ import annotations

import time

DEFAULT_TTL = 60.0


def now() -> float:
    """Seconds on a clock that nobody sets. It goes on while the machine sleeps, where there is such a clock: so does the server's."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class Tenure:
    """When to renew a lease, and when to give it up.

    A renewal counts from before it was sent, so the server's own count is never shorter. The first renewal is due at once: the
    grant says how long the lease lives, but not how long ago that began. All times are of now().
    """

    def __init__(self, ttl: float, heard_at: float) -> None:
        self._ttl = ttl
        # Time to tell the program before the server takes the memory back.
        self._margin = min(ttl / 10, 2.0)
        self.next_at = heard_at
        self.give_up_at = heard_at + ttl - self._margin

    def renewed(self, sent_at: float) -> None:
        """A renewal that was sent then has succeeded."""
        self.next_at = sent_at + self._ttl / 3
        self.give_up_at = sent_at + self._ttl - self._margin

    def failed(self, at: float) -> None:
        """A renewal has failed; the next is due soon, and never only after the lease would be given up."""
        self.next_at = min(at + min(1.0, self._ttl / 10), self.give_up_at)

    def call_timeout(self, at: float) -> float:
        """How long one renewal may take."""
        # A line that swallows a call should not cost the lease.
        return max(0.001, min(5.0, self._ttl / 3, self.give_up_at - at))
