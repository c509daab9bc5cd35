"""Who is connected to next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ShuffledQueue(Generic[Item]):
    """A queue that gives out its items by priority, and in random order where that is the same."""

    def __init__(self, randrange: Callable[[int], int]) -> None:
        """:param randrange: as ``random.Random.randrange`` of one argument."""
        self._randrange = randrange
        self._by_priority: dict[int, list[Item]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return (item for items in self._by_priority.values() for item in items)

    def add(self, item: Item, priority: int) -> None:
        """Put an item in; the highest priority comes out first."""
        self._by_priority.setdefault(priority, []).append(item)
        self._length += 1

    def pop(self) -> Item:
        """
        Take the next item out.

        :raises IndexError: there is none.
        """
        if not self._length:
            raise IndexError("the queue is empty")
        priority = max(self._by_priority)
        items = self._by_priority[priority]
        chosen = self._randrange(len(items))
        items[chosen], items[-1] = items[-1], items[chosen]
        item = items.pop()
        if not items:
            del self._by_priority[priority]
        self._length -= 1
        return item

    def clear(self) -> list[Item]:
        """Take out all, in no particular order."""
        items = list(self)
        self._by_priority.clear()
        self._length = 0
        return items
