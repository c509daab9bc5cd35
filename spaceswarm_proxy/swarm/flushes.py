"""Waiting until the peers known now have been tried."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

Item = TypeVar("Item")


class Flushes(Generic[Item]):
    """Those who wait, each for the items that were outstanding when they came."""

    def __init__(self) -> None:
        self._pending: dict[Deferred[bool], set[Item]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def wait(self, outstanding: Iterable[Item]) -> Deferred[bool]:
        """
        :param outstanding: what must be settled first.
        :returns: a Deferred that fires with true when it is, with false when that was given up; it may be cancelled.
        """
        waiter: Deferred[bool] = Deferred(self._cancelled)
        items = set(outstanding)
        if items:
            self._pending[waiter] = items
        else:
            waiter.callback(True)
        return waiter

    def _cancelled(self, waiter: Deferred[bool]) -> None:
        self._pending.pop(waiter, None)

    def settle(self, item: Item) -> None:
        """An item was dealt with, one way or another."""
        for items in self._pending.values():
            items.discard(item)
        self._fire(True, [waiter for waiter, items in self._pending.items() if not items])

    def finish(self, result: bool) -> None:
        """Nothing more is to be waited for."""
        self._fire(result, list(self._pending))

    def _fire(self, result: bool, waiters: list[Deferred[bool]]) -> None:
        for waiter in waiters:
            # The one before may have cancelled this one.
            if self._pending.pop(waiter, None) is not None:
                waiter.callback(result)
