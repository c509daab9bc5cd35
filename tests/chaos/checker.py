"""Does everybody reach everybody?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.task import deferLater

from tests.interop.crowd_support import Crowds, Pair

#: Seconds between two looks.
LOOK = 0.1
#: Bytes that each sends to each.
PAYLOAD = 2_000


class NotWholeError(AssertionError):
    """Somebody has not found back."""


class Whole(Protocol):
    """The world, as far as it is looked at here."""

    @property
    def crowds(self) -> Crowds: ...

    @property
    def expected(self) -> set[Pair]: ...

    def complaints(self) -> Sequence[str]: ...


class Checker:
    """Lets everybody send everybody else something, round by round, and waits until it has arrived."""

    def __init__(self, reactor: Any, world: Whole) -> None:
        self._reactor = reactor
        self._world = world
        self._round = 0

    async def becomes_whole(self, within: float) -> float:
        """
        One round, with fresh bytes.

        :param within: seconds.
        :returns: the seconds that it took.
        :raises NotWholeError: something did not arrive in time, was not what was sent, or made one of ours complain.
        """
        begun = self._reactor.seconds()
        self._round += 1
        self._world.crowds.round(self._round, PAYLOAD)
        await self._come_about(self._missing, begun + within)
        self._check()
        took: float = self._reactor.seconds() - begun
        return took

    async def _come_about(self, missing: Callable[[], set[Pair]], deadline: float) -> None:
        while left := missing():
            if self._reactor.seconds() >= deadline:
                raise NotWholeError(f"not reached: {told(left)}")
            await deferLater(self._reactor, LOOK)

    def _missing(self) -> set[Pair]:
        return self._world.expected - self._world.crowds.exchanged(self._round)

    def _check(self) -> None:
        problems = [*map(str, self._world.crowds.problems()), *self._world.complaints()]
        if problems:
            raise NotWholeError("\n".join(problems))


def told(missing: set[Pair]) -> str:
    """Whose bytes did not arrive at whom, one line for each who sent them."""
    senders = sorted({sender for sender, _ in missing})
    lines = [f"{sender} -> {', '.join(sorted(to for each, to in missing if each == sender))}" for sender in senders]
    return "\n  ".join(["", *lines])
