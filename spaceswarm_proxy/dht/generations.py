"""
Two generations of entries: what is old is dropped all at once, without a timer or a time for each.

Every two thirds of an entry's life the current generation becomes the old one, and the old one is dropped; an entry
that nobody touches lives for two to four thirds of its life.

:source: spec/dht.md, section 14.7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from spaceswarm_proxy.dht.turns import Turns

Value = TypeVar("Value")


class Generations(Generic[Value]):
    """A bounded mapping from bytes whose entries grow old."""

    def __init__(
        self, limit: int, lifetime: float, now: float, size_of: Callable[[Value], int] = lambda value: 1
    ) -> None:
        """
        :param limit: how much a generation holds; the next one begins when it is full.
        :param lifetime: seconds.
        :param size_of: what an entry counts for; by default 1.
        """
        self.limit = limit
        self.size = 0
        self._turns = Turns(lifetime * 2 / 3, now)
        self._size_of = size_of
        self._current: dict[bytes, Value] = {}
        self._old: dict[bytes, Value] = {}

    def __len__(self) -> int:
        return len(self._current) + sum(key not in self._current for key in self._old)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._current
        yield from (key for key in self._old if key not in self._current)

    def get(self, key: bytes, now: float) -> Value | None:
        """:returns: the entry, which is young again."""
        self.advance(now)
        value = self._current.get(key)
        if value is None and (value := self._old.pop(key, None)) is not None:
            self.put(key, value, now)
        return value

    def put(self, key: bytes, value: Value, now: float) -> None:
        """Store an entry, in place of the one before."""
        self.advance(now)
        self.delete(key)
        self._current[key] = value
        self.size += self._size_of(value)
        if self.size >= self.limit:
            self._rotate()
            self._turns.restart(now)

    def delete(self, key: bytes) -> None:
        """Forget an entry, if it is there."""
        if (value := self._current.pop(key, None)) is not None:
            self.size -= self._size_of(value)
        self._old.pop(key, None)

    def advance(self, now: float) -> None:
        """Let time pass."""
        for _ in range(min(self._turns.ended(now), 2)):
            self._rotate()

    def _rotate(self) -> None:
        self._old, self._current, self.size = self._current, {}, 0
