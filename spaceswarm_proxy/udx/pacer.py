"""
Spreads what is sent over time, as the path carries it.

Packets leave in bunches, as a timer is not exact to less than a millisecond; when one comes late, as those of a busy
process do, the next bunch is larger by as much.  Or else a stream would become slower with each late one: it would take
what it sends for all that the path carries.
"""

from __future__ import annotations

from math import ceil

#: Seconds of lateness that are made up for: where something waited for its turn, and where there was nothing to send.
_CATCH_UP = 0.05
_SLACK = 0.002
#: Seconds' worth that a bunch has at least.
_BUNCH = 0.001
#: Packets that a bunch has at least.
_FEWEST = 2


class Pacer:
    """When the next packets may leave."""

    __slots__ = ("_next", "_rate")

    def __init__(self) -> None:
        self._rate = 0.0
        # When all is gone that was sent so far, at the rate that was given.
        self._next = 0.0

    @property
    def next(self) -> float:
        """When packets may leave again."""
        return self._next

    def allowance(self, rate: float, quiet: bool, waited: bool, now: float) -> int:
        """
        :param rate: packets per second; 0 for no limit.
        :param quiet: is nothing on the way?  Then a few packets need not wait: a question and its answer take no timer.
        :param waited: has something waited since :attr:`next`?
        :returns: packets that may leave now.
        """
        self._rate = rate
        if not rate:
            return 1 << 30
        if self._next > now:
            return _FEWEST if quiet else 0
        self._next = max(self._next, now - (_CATCH_UP if waited else _SLACK))
        return max(ceil((now - self._next + _BUNCH) * rate), _FEWEST)

    def sent(self, count: int) -> None:
        """So many packets leave."""
        if self._rate:
            self._next += count / self._rate
