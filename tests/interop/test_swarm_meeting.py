"""Swarms meet: who connects to whom, and how often."""

from __future__ import annotations

from typing import Any

from tests.interop.dht_support import each
from tests.interop.swarm_world import (
    OursWithOurs,
    OursWithTheirs,
    ProxiedWithTheirs,
    TheirsWithOurs,
    TheirsWithProxied,
)

#: Two seeds of key pairs: the key of the first is smaller than that of the second.
SMALL, LARGE = b"\x02" * 32, b"\x01" * 32


class Meeting:
    """What holds in both networks."""

    async def test_one_looks(self: Any) -> None:
        """One is found, the other one connects to it; each is told of one connection, and so are its counters."""
        one, other = await self.both()
        await other.join(client=False)
        await one.join(server=False)
        await each([one.meets(other, times=1), other.meets(one, times=1)])
        self.assertEqual((True, False), (one.made(other), other.made(one)))
        await self.talk(one, other)
        counts, others = await one.counts(), await other.counts()
        self.assertEqual((1, (1, 0), 0, 1), (counts.attempts, counts.opened, counts.connecting, counts.most))
        self.assertEqual((0, (0, 1), 0), (others.attempts, others.opened, others.connecting))

    async def test_both_look(self: Any) -> None:
        """Both look and can be found, from the same moment on: one connection is left, and both agree on which."""
        one, other = await self.both()
        await each([one.join(), other.join()])
        await self.settled(one, other)
        await self.talk(one, other)


class Everything(Meeting):
    """What needs to be seen in one network only."""

    async def test_crossing(self: Any) -> None:
        """Two who connect to each other at the same moment keep what the one with the larger key has made."""
        for near, far in ((SMALL, LARGE), (LARGE[1:] + b"\x05", SMALL[1:] + b"\x04")):
            one, other = await self.near(seed=near), await self.far(seed=far)
            await each([one.listen(), other.listen()])
            await each([one.join_peer(other), other.join_peer(one)])
            await self.settled(one, other)
            await self.talk(one, other)
            attempts = [(await end.counts()).attempts for end in (one, other)]
            if attempts == [1, 1]:
                self.assertEqual(one.key > other.key, one.made(other))
            await each([one.close(), other.close()])

    async def test_end(self: Any) -> None:
        """When one closes, the other one's connection ends; what it knew of a peer who came to it is forgotten."""
        one, other = await self.both()
        await one.join(client=False)
        await other.join(server=False)
        await self.met(one, other)
        await other.close()
        await one.meets()
        self.assertEqual(({}, (0, 1)), ((await one.counts()).peers, (await one.counts()).closed))


class OursTests(Everything, OursWithOurs):
    """Two of ours."""


class OursWithTheirsTests(Everything, OursWithTheirs):
    """Ours and a JavaScript one."""


class TheirsWithOursTests(Everything, TheirsWithOurs):
    """The other way round."""


class ProxiedTests(Everything, ProxiedWithTheirs):
    """Ours behind a proxy."""


class TheirsWithProxiedTests(Everything, TheirsWithProxied):
    """The other way round."""


class SpaceswarmTests(Meeting, OursWithTheirs):
    """Ours and a JavaScript one, in the other network."""

    profile = "spaceswarm"


class SpaceswarmProxiedTests(Meeting, ProxiedWithTheirs):
    """And there, ours behind a proxy."""

    profile = "spaceswarm"


class ByHand:
    """Near swarms are ours."""

    async def test_connect(self: Any) -> None:
        """Who asks for a connection with a peer gets the one that there is, be it only on its way."""
        one, other = await self.both()
        await other.listen()
        first, second = await each([one.swarm.connect(other.key), one.swarm.connect(other.key)])
        self.assertIs(first, second)
        await self.met(one, other)
        self.assertIs(first, await one.swarm.connect(other.key))
        await self.talk(one, other)
        self.assertEqual((1, 1), (len(one.met), len(other.met)))


class OursByHandTests(ByHand, OursWithOurs):
    """Two of ours."""


class OursWithTheirsByHandTests(ByHand, OursWithTheirs):
    """Ours and a JavaScript one."""


class ProxiedByHandTests(ByHand, ProxiedWithTheirs):
    """Ours behind a proxy."""


class Crowd:
    """More than two."""

    async def test_everybody(self: Any) -> None:
        """Everybody is connected with everybody, once."""
        ends = [await (self.near() if number % 2 else self.far()) for number in range(8)]
        # One after the other: JavaScript ones that begin at the same moment need not find each other.
        for end in ends:
            await end.join()
        await self.settled(*ends)

    async def test_two_come(self: Any) -> None:
        """One who only listens is connected with all who look, and they are not with each other."""
        one, *others = [await self.near(), await self.far(), await self.far()]
        await one.join(client=False)
        await each(other.join(server=False) for other in others)
        await one.meets(*others, times=2)
        for other in others:
            await other.meets(one, times=1)


class OursCrowdTests(Crowd, OursWithOurs):
    """All are ours."""


class MixedCrowdTests(Crowd, OursWithTheirs):
    """Half of them are JavaScript ones."""


class ProxiedCrowdTests(Crowd, ProxiedWithTheirs):
    """And the other half shares a proxy: they are neighbours there."""
