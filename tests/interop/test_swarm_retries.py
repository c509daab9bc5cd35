"""Who is tried again, when a connection has ended, and who is not."""

from __future__ import annotations

from typing import Any

from tests.interop.dht_support import until
from tests.interop.proxy_support import eventually
from tests.interop.swarm_world import OursWithOurs, OursWithTheirs, ProxiedWithTheirs, TheirsWithOurs, TheirsWithProxied


class Coming:
    """In one direction or another: the near swarm is the one that connects."""

    async def test_again(self: Any) -> None:
        """Whoever ends a connection that was in use, the one that has made it makes another, which takes its place."""
        one, other = await self.both()
        await other.join(client=False)
        await one.join(server=False)
        await self.met(one, other)
        for times, (end, peer) in enumerate([(other, one), (one, other)], 2):
            await self.talk(one, other)
            await end.drop(peer)
            await one.meets(other, times=times)
            await other.meets(one, times=times)
        await self.talk(one, other)

    async def test_given_up(self: Any) -> None:
        """When connections end at once, again and again, there are few more; then the peer is forgotten."""
        one, other = await self.near(each="destroy"), await self.far()
        await other.join(client=False)
        await one.join(server=False)

        async def is_given_up() -> bool:
            counts = await one.counts()
            return counts.attempts > 1 and not counts.peers

        await until(is_given_up)
        self.assertEqual(4, len(one.met))

    async def test_rest(self: Any) -> None:
        """A swarm that is suspended has no connections; when it is resumed, whoever connects has connected again."""
        one, other = await self.both()
        await other.join(client=False)
        await one.join(server=False)
        await self.met(one, other)
        for end in (one, other):
            await end.suspend()
            await one.meets()
            await other.meets()
            await end.resume()
            if end is other:
                await end.flush()
                await one.refresh()
            await self.met(one, other)


class Choosing:
    """Where the near swarm is ours."""

    async def test_explicit(self: Any) -> None:
        """
        A peer that is joined by its key is connected with, without a topic, and again when the connection ends; when
        it is left, the connection stays, and is the last.
        """
        one, left, kept = await self.near(), await self.far(), await self.far()
        for peer in (left, kept):
            await peer.listen()
            await one.join_peer(peer)
        await one.meets(left, kept)
        await one.drop(left)
        await one.meets(left, kept, times=3)
        await one.leave_peer(left)
        self.assertEqual((2, 1), (len(one.connected), (await one.counts()).explicit))
        await one.drop(left)
        await one.drop(kept)
        # By the time at which one is back, the other would be, too.
        await one.meets(kept, times=4)
        self.assertEqual({kept.key}, set((await one.counts()).peers))

    async def test_ourselves(self: Any) -> None:
        """Nobody connects to himself."""
        one = await self.near()
        await one.listen()
        await one.join_peer(one)
        counts = await one.counts()
        self.assertEqual((0, 0, {}), (counts.connecting, counts.attempts, counts.peers))

    async def test_banned(self: Any) -> None:
        """A peer that is banned keeps its connection, and gets no other."""
        one, banned, other = await self.near(), await self.far(), await self.far()
        for peer in (banned, other):
            await peer.join(client=False)
        await one.join(server=False)
        await one.meets(banned, other)
        await one.ban(banned)
        self.assertEqual(2, len(one.connected))
        await one.drop(banned)
        await one.drop(other)
        await one.meets(other, times=3)
        await one.refresh()
        self.assertEqual([other.key], one.connected)


class OursTests(Coming, Choosing, OursWithOurs):
    """All are ours."""


class OursWithTheirsTests(Coming, Choosing, OursWithTheirs):
    """Ours connects to JavaScript ones."""


class TheirsWithOursTests(Coming, TheirsWithOurs):
    """The other way round."""


class ProxiedTests(Coming, Choosing, ProxiedWithTheirs):
    """Ours behind a proxy connects."""


class TheirsWithProxiedTests(Coming, TheirsWithProxied):
    """The other way round."""


class Dying:
    """The other one's process is killed."""

    async def test_comes_back(self: Any) -> None:
        """A peer that dies, and comes back under the same key, takes the place of what it has left behind."""
        one, other = await self.near(), await self.far(seed=b"\x33" * 32)
        await one.join()
        await other.join()
        await self.settled(one, other)
        await self.talk(one, other)
        self.kill_theirs()
        again = await self.far(seed=b"\x33" * 32)
        await again.join()
        await eventually(lambda: len(one.met) > 1)
        await self.settled(one, again)
        await self.talk(one, again)


class OursDyingTests(Dying, OursWithTheirs):
    """A JavaScript one, and ours."""


class ProxiedDyingTests(Dying, ProxiedWithTheirs):
    """And ours behind a proxy."""
