"""What a core asks of chance; ``random.Random`` and ``random.SystemRandom`` have it all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Chance(Protocol):
    """A source of randomness: the system's in a node, a seeded one in tests and simulations."""

    def random(self) -> float:
        """:returns: at least 0, below 1."""

    def randrange(self, stop: int, /) -> int:
        """:returns: at least 0, below ``stop``."""

    def randbytes(self, n: int) -> bytes:
        """:returns: so many bytes."""

    def sample(self, population: Sequence[Item], k: int) -> list[Item]:
        """:returns: ``k`` different ones."""

    def choice(self, seq: Sequence[Item]) -> Item:
        """:returns: one of them."""
