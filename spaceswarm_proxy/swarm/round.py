"""What one round of a lookup hands on."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import NamedTuple

#: Peers that a round remembers; further ones are never the first report, and are not handed on where there is a limit.
MOST_SEEN = 4096


class Report(NamedTuple):
    """What to do with a peer that was reported."""

    #: Hand it on.
    admitted: bool
    #: It is the first report of this peer in the round.
    first: bool


class Round:
    """
    From one refresh of a topic to the next: who was reported, and how many new peers may still be handed on.

    Peers of the round before that are connected by now use up the limit of this one: they are what it asked for.
    """

    def __init__(self, limit: float = inf, already: int = 0) -> None:
        """
        :param limit: new peers that may be handed on.
        :param already: how many of them there are.
        """
        self._left = max(limit - already, 0)
        self._seen: dict[bytes, bool] = {}

    def next(self, limit: float, is_connected: Callable[[bytes], bool]) -> Round:
        """The round after this one."""
        already = sum(map(is_connected, self._seen)) if limit < inf else 0
        return Round(limit, already)

    def report(self, id: bytes, connected: bool) -> Report:
        """
        A peer was found.

        :param connected: there is a connection with it, so it is not a new one.
        """
        admitted = self._seen.get(id)
        if admitted is not None:
            return Report(admitted or connected, False)
        admitted = connected or self._left > 0
        if len(self._seen) >= MOST_SEEN:
            return Report(connected or self._left == inf, False)
        self._seen[id] = admitted
        if not connected:
            self._left = max(self._left - 1, 0)
        return Report(admitted, True)
