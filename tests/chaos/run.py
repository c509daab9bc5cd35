"""A world, a schedule and a checker together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater

from tests.chaos.checker import Checker, NotWholeError
from tests.chaos.schedule import Episode, schedule, told
from tests.chaos.world import GRACE, PARTS, World

#: Seconds in which everybody finds back, from the end of a fault on.
PATIENCE = 30.0
#: And in which everybody has met for the first time.
FIRST = 60.0


class Chaos:
    """One run."""

    def __init__(
        self, reactor: Any, directory: Path, *, seed: int, profile: str, longest: float, say: Callable[[str], object]
    ) -> None:
        """
        :param directory: an empty one.
        :param longest: seconds that a fault lasts at most.
        :param say: told, in lines, what happens.
        """
        self.world = World(reactor, directory, profile, seed)
        #: Seconds that it took everybody to find back, episode by episode.
        self.times: list[float] = []
        self._reactor = reactor
        self._seed = seed
        self._longest = longest
        self._say = say
        self._checker = Checker(reactor, self.world)

    async def run(self, seconds: float) -> None:
        """
        Begin, let things go wrong until so much time has passed, and see that nothing is left in the proxy.

        :raises NotWholeError: that is not so; the message says what is needed to do it again.
        """
        until = self._reactor.seconds() + seconds
        try:
            await self.world.begin()
            self._say(f"everybody has met after {await self._checker.becomes_whole(FIRST):.1f} s")
            await self._go_wrong(until)
            await self._nothing_left()
        except NotWholeError as problem:
            raise NotWholeError(f"{self._done}\n{problem}") from None
        finally:
            await self.world.end()

    @property
    def _done(self) -> str:
        """What has gone wrong so far."""
        return told(self._seed, PARTS, self._longest, len(self.times) + 1)

    async def _go_wrong(self, until: float) -> None:
        for episode in schedule(self._seed, PARTS, self._longest):
            if self._reactor.seconds() >= until:
                return
            await deferLater(self._reactor, episode.pause)
            await self._go_through(episode)
            took = await self._checker.becomes_whole(PATIENCE)
            self.times.append(took)
            self._say(f"{len(self.times)}. {episode}: whole again {took:.1f} s later")

    async def _go_through(self, episode: Episode) -> None:
        for fault in episode.faults:
            await self.world.suffer(fault)
        passed = 0.0
        for fault in sorted(episode.faults, key=lambda fault: fault.seconds):
            await deferLater(self._reactor, fault.seconds - passed)
            passed = fault.seconds
            await self.world.recover(fault)

    async def _nothing_left(self) -> None:
        """When everybody has been killed, the proxy forgets them."""
        await self.world.end_of_crowds()
        deadline = self._reactor.seconds() + PATIENCE + GRACE
        while not await self.world.is_proxy_empty():
            if self._reactor.seconds() >= deadline:
                raise NotWholeError("the proxy has not forgotten everybody")
            await deferLater(self._reactor, GRACE / 4)
