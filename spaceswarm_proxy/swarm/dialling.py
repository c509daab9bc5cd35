"""
How many connections are being made at the same time.

A peer that is there answers in a moment.  One that has gone without a word, while records of it are still found, is
given up only after a dozen seconds, and a handful of those would keep everybody else waiting.  So a connection that
takes long counts no more among those that may be made at the same time, up to a limit: until the peer has answered,
it is a few datagrams a second.  The reference lets it count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

#: Seconds after which it counts no more.
SLOW = 0.5
#: How many connections there may be for each that counts.
MOST = 16


class Dialling(Generic[Item]):
    """The connections that are being made."""

    def __init__(self, clock: Any, limit: int, has_room: Callable[[], object]) -> None:
        """
        :param clock: an ``IReactorTime``.
        :param limit: of those that count.
        :param has_room: called when one more may be made, though none has ended.
        """
        self._clock = clock
        self._limit = limit
        self._has_room = has_room
        # Those that count have the timer that ends it.
        self._timers: dict[Item, Any] = {}
        #: How many of them count.
        self.counting = 0

    def __len__(self) -> int:
        return len(self._timers)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._timers)

    def __contains__(self, item: object) -> bool:
        return item in self._timers

    @property
    def is_full(self) -> bool:
        """Must nobody be dialled now?"""
        return self.counting >= self._limit or len(self) >= MOST * self._limit

    def add(self, item: Item) -> None:
        """One more."""
        self.counting += 1
        self._timers[item] = self._clock.callLater(SLOW, self._slow, item)

    def discard(self, item: Item) -> None:
        """It is made, or has failed; a second call changes nothing."""
        timer = self._timers.pop(item, None)
        if timer is not None and timer.active():
            timer.cancel()
            self.counting -= 1

    def _slow(self, item: Item) -> None:
        self.counting -= 1
        self._has_room()
