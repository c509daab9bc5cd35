"""Sealed streams through a blind relay: :mod:`spaceswarm_proxy.peering.sealing`."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from spaceswarm_proxy.crypto.keys import KeyPair
from tests.keepers import FakeKeeper, Unsealed, Unsealing
from tests.network.support import Collector, Echo, Recorder
from tests.peering import test_relay_port
from tests.peering.test_relay_port import MUCH, RELAY, SERVER

CLIENT = KeyPair.from_seed(bytes([3]) * 32)


class SealedRelayTests(test_relay_port.RelayPortCase):
    """Where there is no other way, a sealed stream goes through a relay like any other."""

    async def talk(self, client: Any, server: Any) -> None:
        """:param client, server: a key pair, or who keeps it."""
        relay = await self.build()
        near, far = await self.peer(), await self.peer()
        served = self.wrapped(server, far, Collector(Echo))
        await far.listen(server, served, share_local_address=False, holepunch=False, relay_through=[RELAY.public_key])
        asked = self.wrapped(client, near, Collector(Recorder))
        protocol: Any = await near.connect(SERVER.public_key, asked, key_pair=client, local_connection=False)
        if isinstance(client, FakeKeeper):
            protocol = await protocol.opened
        protocol.transport.write(MUCH)
        await protocol.receives(MUCH)
        self.assertEqual(1, relay.stats.couples)
        self.assertLess(len(MUCH) // 1200, relay.stats.packets)
        protocol.transport.loseConnection()
        await self.observer.left_by(2)

    def wrapped(self, keys: Any, node: Any, factory: Any) -> Any:
        if isinstance(keys, KeyPair):
            return factory
        return Unsealing(Unsealed(node, keys, reactor), factory)

    async def test_client(self) -> None:
        """The client is sealed."""
        await self.talk(FakeKeeper(CLIENT), SERVER)

    async def test_server(self) -> None:
        """The server is."""
        await self.talk(CLIENT, FakeKeeper(SERVER))
