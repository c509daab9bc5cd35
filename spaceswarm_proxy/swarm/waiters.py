"""Many callers who wait for one thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Value = TypeVar("Value")


class Waiters(Generic[Value]):
    """Deferreds, one for each caller, that fire together; each can be cancelled on its own."""

    __slots__ = ("_deferreds",)

    def __init__(self) -> None:
        self._deferreds: dict[Deferred[Value], None] = {}

    def __len__(self) -> int:
        return len(self._deferreds)

    def wait(self) -> Deferred[Value]:
        """:returns: a Deferred of what :meth:`fire` or :meth:`fail` is given next."""
        waiter: Deferred[Value] = Deferred(lambda cancelled: self._deferreds.pop(cancelled, None))
        self._deferreds[waiter] = None
        return waiter

    def fire(self, value: Value) -> None:
        """Give all who wait now the value."""
        for waiter in self._each():
            waiter.callback(value)

    def fail(self, problem: Failure | Exception) -> None:
        """Give all who wait now the error."""
        for waiter in self._each():
            waiter.errback(problem)

    def _each(self) -> Iterator[Deferred[Value]]:
        waiting, self._deferreds = self._deferreds, {}
        for waiter in waiting:
            # The one before may have cancelled this one.
            if not waiter.called:
                yield waiter
