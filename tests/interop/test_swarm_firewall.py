"""Whom the firewall does not let in, or out."""

from __future__ import annotations

from typing import Any

from tests.interop.proxy_support import eventually
from tests.interop.swarm_world import OursWithOurs, OursWithTheirs, ProxiedWithTheirs, TheirsWithOurs, TheirsWithProxied


class Refusing:
    """The near swarm is the one that refuses; others are welcome."""

    #: Does it refuse before there is a connection?  Behind a proxy there is one, which ends at once.
    refuses_early = True

    async def test_server(self: Any) -> None:
        """Who is refused as he connects is banned, and never heard of; he is not let in later, when all are welcome."""
        server, refused, other = await self.near(), await self.far(), await self.far()
        await server.refuse(refused)
        await server.join()
        await refused.join(server=False)
        await self.is_banned(server, refused)
        await server.refuse()
        await other.join(server=False)
        await server.meets(other, times=1)
        await refused.refresh()
        self.assertEqual((1, {refused.key, other.key}), await self.bans_and_peers(server))
        await self.has_no_connection(refused)

    async def test_client(self: Any) -> None:
        """Who is refused when he is found is banned, and not connected to; nor does he get in by himself."""
        client, refused, other = await self.near(), await self.far(), await self.far()
        for server in (refused, other):
            await server.join(client=False)
        await client.refuse(refused)
        await client.join()
        await self.met(client, other)
        await self.is_banned(client, refused)
        await client.refuse()
        await refused.join_peer(client)
        await self.talk(other, client)
        self.assertEqual((1, {refused.key, other.key}), await self.bans_and_peers(client))
        await self.has_no_connection(refused)

    async def has_no_connection(self: Any, refused: Any) -> None:
        """Nor has it ever had one, where that can be told in time."""
        await refused.meets()
        if self.refuses_early:
            self.assertEqual([], refused.met)

    async def is_banned(self: Any, end: Any, peer: Any) -> None:
        """Wait until a peer, and nobody else, is told to be banned."""
        await eventually(lambda: end.bans == [peer.key])

    async def bans_and_peers(self: Any, end: Any) -> tuple[int, set[bytes]]:
        counts = await end.counts()
        return counts.banned, set(counts.peers)


class OursTests(Refusing, OursWithOurs):
    """All are ours."""


class OursWithTheirsTests(Refusing, OursWithTheirs):
    """Ours refuses JavaScript ones."""


class TheirsWithOursTests(Refusing, TheirsWithOurs):
    """The other way round."""


class ProxiedTests(Refusing, ProxiedWithTheirs):
    """Ours behind a proxy refuses."""

    refuses_early = False


class TheirsWithProxiedTests(Refusing, TheirsWithProxied):
    """The other way round."""
