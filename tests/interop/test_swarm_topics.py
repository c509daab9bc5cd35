"""What is looked for and announced in topics, and how many peers are connected to."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.dht import requests
from spaceswarm_proxy.swarm import dialling
from tests.interop.dht_support import TOPIC, until
from tests.interop.swarm_world import OursWithOurs, OursWithTheirs, ProxiedWithTheirs, TheirsWithOurs, TheirsWithProxied

OTHER_TOPIC = b"\x02" * 32


class Leaving:
    """In one direction or another."""

    async def test_left(self: Any) -> None:
        """Who leaves a topic keeps the connections, client or server, and whoever comes later finds nobody."""
        server, client, late = await self.near(), await self.far(), await self.far()
        await server.join()
        await client.join(server=False)
        await self.met(server, client)
        await server.leave()
        await client.leave()
        await late.join(server=False)
        await late.flush()
        self.assertEqual(([], [client.key], frozenset()), (late.met, server.connected, (await server.counts()).topics))


class Topics:
    """What the near swarm does."""

    async def test_two_topics(self: Any) -> None:
        """Who is found under two topics is connected to once, and is known under both."""
        one, other = await self.both()
        for topic in (TOPIC, OTHER_TOPIC):
            await other.join(topic=topic, client=False)
        for topic in (TOPIC, OTHER_TOPIC):
            one.join(topic=topic, server=False)

        async def knows_both() -> bool:
            return (await one.counts()).peers.get(other.key) == {TOPIC, OTHER_TOPIC}

        await until(knows_both)
        await self.met(one, other)
        self.assertEqual((1, 1), (len(one.met), len(other.met)))

    async def test_refresh(self: Any) -> None:
        """Who comes later is found by a refresh, not before; and by one, when the network changes."""
        one, first, second, third = await self.near(), await self.far(), await self.far(), await self.far()
        await first.join(client=False)
        await one.join(server=False)
        await one.meets(first)
        await second.join(client=False)
        self.assertEqual(1, len(one.met))
        await one.refresh()
        await one.meets(first, second)
        await third.join(client=False)
        self.network_changes(one)
        await one.meets(first, second, third, times=3)

    async def test_sessions(self: Any) -> None:
        """Of two sessions in different roles one may end: the other one's role stays, and no other."""
        one, guest, host = await self.near(), await self.far(), await self.far()
        await one.join(session="client", server=False)
        await one.join(session="server", client=False)
        await one.destroy(session="client")
        await host.join(client=False)
        await one.refresh(session="server")
        await guest.join(server=False)
        await one.meets(guest)
        self.assertEqual([False], [met.initiator for met in one.met])
        await one.destroy(session="server")
        self.assertEqual(frozenset(), (await one.counts()).topics)

    async def test_more_roles(self: Any) -> None:
        """Joined again with one role more, a topic is announced at once; a refresh can do that, too."""
        one, guest = await self.near(), await self.far()
        one.join(server=False)
        await one.join(session="more")
        await guest.join(server=False)
        await self.met(one, guest)
        another, late = await self.near(), await self.far()
        await another.join(topic=OTHER_TOPIC, server=False)
        await another.refresh(server=True)
        await late.join(topic=OTHER_TOPIC, server=False)
        await self.met(another, late)

    async def test_limits(self: Any) -> None:
        """
        With so many connections there are no more, so many are begun at a time, and a refresh brings so many new peers;
        ``flush`` does not wait for those who are left over.
        """
        # Under load it may take a while to connect: all that are being made shall count.
        self.patch(dialling, "SLOW", 60.0)
        for number in range(3):
            await (await self.far(seed=bytes([40 + number]) * 32)).join(client=False)
        full, shy, slow = await self.near(max_peers=1), await self.near(), await self.near(max_parallel=1)
        limited = await self.near(max_client_connections=2)
        await full.join(server=False)
        await shy.join(server=False, limit=1)
        await slow.join(server=False)
        await limited.join(server=False)
        for end, connections in ((full, 1), (shy, 1), (slow, 3), (limited, 2)):
            self.assertTrue(await end.flush())
            self.assertEqual(connections, len(end.connected))
        self.assertEqual(1, (await slow.counts()).most)
        await shy.refresh(limit=2)
        await shy.flush()
        self.assertEqual(2, len(shy.connected))

    async def test_forgotten(self: Any) -> None:
        """A peer that is gone is forgotten when it has been tried often enough."""
        self.patch(requests, "TIMEOUT", 0.1)
        one, other = await self.both()
        await other.join(client=False)
        await one.join(server=False)
        await self.met(one, other)
        await other.close()

        async def is_forgotten() -> bool:
            return not (await one.counts()).peers

        await until(is_forgotten)
        self.assertEqual([], one.connected)


class OursTests(Leaving, Topics, OursWithOurs):
    """All are ours."""


class OursWithTheirsTests(Leaving, Topics, OursWithTheirs):
    """Ours, and JavaScript ones."""


class TheirsWithOursTests(Leaving, TheirsWithOurs):
    """The other way round."""


class ProxiedTests(Leaving, Topics, ProxiedWithTheirs):
    """Ours behind a proxy."""


class TheirsWithProxiedTests(Leaving, TheirsWithProxied):
    """The other way round."""
