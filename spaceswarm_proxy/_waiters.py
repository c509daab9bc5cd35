"""Many callers who wait for one thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Value = TypeVar("Value")


class Waiters(Generic[Value]):
    """Deferreds, one for each caller, that fire together; each can be cancelled on its own."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Deferred[Value], None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> Deferred[Value]:
        """:returns: a Deferred of what the next :meth:`fire` or :meth:`fail` is given."""
        waiter: Deferred[Value] = Deferred(lambda cancelled: self._waiting.pop(cancelled, None))
        self._waiting[waiter] = None
        return waiter

    def fire(self, value: Value) -> None:
        """It has happened: tell all who wait now."""
        for waiter in self._take():
            waiter.callback(value)

    def fail(self, problem: Failure | Exception) -> None:
        """It will not happen: tell all who wait now."""
        for waiter in self._take():
            waiter.errback(problem)

    def _take(self) -> Iterator[Deferred[Value]]:
        waiting, self._waiting = self._waiting, {}
        # One that was told may have cancelled another.
        return (waiter for waiter in waiting if not waiter.called)
