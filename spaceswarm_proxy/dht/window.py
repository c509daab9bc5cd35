"""
How many requests may be under way.

:source: npm ``dht-rpc``; spec/dht.md, section 12.2.
"""

from __future__ import annotations

from spaceswarm_proxy.dht.turns import Turns

#: Seconds between drains.
DRAIN = 0.75
#: Requests sent in one drain's time, less those that are finished.
MAX_IN_SLOT = 80
_SLOTS = 4


class CongestionWindow:
    """Counts the requests of the last four drains' time that are not finished; retransmissions count too."""

    __slots__ = ("_max_in_slot", "_slot", "_slots", "_total", "_turns")

    def __init__(self, now: float, max_in_slot: int = MAX_IN_SLOT) -> None:
        self._max_in_slot = max_in_slot
        self._slots = [0] * _SLOTS
        self._slot = 0
        self._total = 0
        self._turns = Turns(DRAIN, now)

    @property
    def due(self) -> float:
        """When there may be room again, in seconds."""
        return self._turns.due

    def is_full(self, now: float) -> bool:
        """:returns: whether the next request has to wait."""
        if now >= self._turns.due:
            self._drain(now)
        return self._total >= 2 * self._max_in_slot or self._slots[self._slot] >= self._max_in_slot

    def sent(self) -> None:
        """A datagram with a request has gone out."""
        self._slots[self._slot] += 1
        self._total += 1

    def finished(self) -> None:
        """A request was answered, or given up."""
        if self._slots[self._slot]:
            self._slots[self._slot] -= 1
            self._total -= 1

    def _drain(self, now: float) -> None:
        for _ in range(min(self._turns.ended(now), _SLOTS)):
            self._slot = (self._slot + 1) % _SLOTS
            self._total -= self._slots[self._slot]
            self._slots[self._slot] = 0
