"""How many connections may be about to open at once, and who makes room when there are too many."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Pending(Generic[T]):
    """
    What is under way, with where it comes from, up to a limit.

    When that is reached, the source that has the most gives up its oldest: a flood from one place hurts that place
    only, and who opens without delay is through before his turn comes.
    """

    def __init__(self, limit: int) -> None:
        """:param limit: of items, over all sources; at least 1."""
        self._limit = limit
        # The items of each source, the oldest first.
        self._by_source: dict[Hashable, dict[T, None]] = {}
        self._source_of: dict[T, Hashable] = {}

    def __len__(self) -> int:
        return len(self._source_of)

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._source_of))

    def add(self, item: T, source: Hashable) -> T | None:
        """:returns: what has to go for it, if anything; it is not in here any more."""
        victim = self._oldest_of_the_greatest() if len(self) >= self._limit else None
        self._by_source.setdefault(source, {})[item] = None
        self._source_of[item] = source
        return victim

    def remove(self, item: T) -> None:
        """It is no longer under way; if it is not in here, that is no matter."""
        if item not in self._source_of:
            return
        source = self._source_of.pop(item)
        del self._by_source[source][item]
        if not self._by_source[source]:
            del self._by_source[source]

    def _oldest_of_the_greatest(self) -> T:
        _, items = max(self._by_source.items(), key=lambda entry: len(entry[1]))
        victim = next(iter(items))
        self.remove(victim)
        return victim
