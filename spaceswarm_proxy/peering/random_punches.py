"""
How often a node may punch through an address translation that chooses ports at random.

Such an attempt sends thousands of datagrams over half a minute, and opens hundreds of sockets: one at a time, and a
pause after it.

:source: npm ``hyperdht`` 6 (``randomPunchInterval``); spec/connect.md, section 6.5.
"""

from __future__ import annotations

from math import inf

#: Attempts at a time.
LIMIT = 1
#: Seconds between the end of one attempt and the begin of the next.
INTERVAL = 20.0


class RandomPunches:
    """The attempts of one node."""

    def __init__(self, limit: int = LIMIT, interval: float = INTERVAL) -> None:
        #: Attempts under way, and those that are about to begin.
        self.under_way = 0
        self._limit = limit
        self._interval = interval
        self._ended = -inf

    def allowed(self, now: float) -> bool:
        """:returns: whether one may begin."""
        return self.under_way < self._limit and now - self._ended >= self._interval

    def begin(self) -> None:
        """One begins, or will as soon as the other side agrees."""
        self.under_way += 1

    def withdraw(self) -> None:
        """One that was about to begin does not."""
        self.under_way -= 1

    def end(self, now: float) -> None:
        """One has ended, well or not."""
        self.under_way -= 1
        self._ended = now
