"""What is under way, and who waits until it is not."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed

from spaceswarm_proxy._waiters import Waiters

Value = TypeVar("Value")


class UnderWay:
    """Counts Deferreds that have not fired yet."""

    def __init__(self) -> None:
        self._count = 0
        self._waiters: Waiters[None] = Waiters()

    def add(self, work: Deferred[Value]) -> Deferred[Value]:
        """
        One more.

        :returns: the same; its result stays what it is.
        """
        self._count += 1
        return work.addBoth(self._one_less)

    def _one_less(self, result: Any) -> Any:
        self._count -= 1
        if not self._count:
            self._waiters.fire(None)
        return result

    def none(self) -> Deferred[None]:
        """:returns: a Deferred, one for each caller, that fires when nothing is under way."""
        return self._waiters.wait() if self._count else succeed(None)
