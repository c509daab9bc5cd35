"""Blind relays: ours for JavaScript peers, and theirs for ours, and streams that leave them for a better way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import RelayLostError
from spaceswarm_proxy.peering import relay_link
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.peering.relay_port import RelayPort
from tests.interop.connections_support import OURS, THEIRS, ConnectionCase, Counter, raw
from tests.interop.node import Event, NodeProcess
from tests.interop.our_peer import pattern
from tests.interop.proxy_support import eventually
from tests.network.support import Collector, Echo, Source

#: Bytes that go both ways.
SOME = 1_000_000
MANY = 4_000_000
#: Keys of servers and relays.
RELAY = KeyPair.from_seed(bytes([3]) * 32)
#: For ours that shall not be found but through a relay, as client and as server; and the same for theirs.
HIDDEN: dict[str, Any] = {"local_connection": False}
HIDING: dict[str, Any] = {"share_local_address": False, "holepunch": False}
THEY_HIDE = {"share_local_address": "false", "holepunch": "false", "quick_firewall": "false"}
THEY_ARE_HIDDEN = {"local_connection": "false", "quick_firewall": "false"}


class RelayCase(ConnectionCase):
    """A network, relays in it, and peers that need them."""

    def setUp(self) -> None:
        # Nothing is lost here: nobody asks again for a last word.
        self.patch(relay_link, "LINGER", 0.2)

    async def our_relay(self) -> RelayPort:
        """A relay of ours, which :data:`RELAY` is the key of."""
        node = await self.our_persistent_node(await self.bootstrap())
        return await node.relay(RELAY)

    async def their_relay(self) -> NodeProcess:
        """The same, of theirs."""
        return await self.their_server(mode="relay", seed=RELAY.seed, firewalled="false", ephemeral="false")

    async def their_server(self, **options: Any) -> NodeProcess:
        """A server of theirs that listens."""
        server = self.script("hyperdht_server.js", bootstrap=await self.bootstrap(), **options)
        await server.event("listening")
        return server

    async def their_client(self, **options: Any) -> NodeProcess:
        """A client of theirs that connects to :data:`OURS` or to whom it is told."""
        settings = {"connect": OURS.public_key, "bytes": SOME, **THEY_ARE_HIDDEN}
        return self.script("hyperdht_client.js", bootstrap=await self.bootstrap(), **{**settings, **options})

    async def our_hidden_node(self) -> DHTNode:
        """A node of ours that nobody can reach unasked, as it thinks."""
        node = await self.our_end()
        node._core.firewalled = True
        return node

    async def we_serve(self, build: Callable[[], Any] = Echo, **options: Any) -> Collector:
        """A server of ours, which is :data:`OURS`."""
        collector = Collector(build)
        node = await self.our_hidden_node()
        await node.listen(OURS, collector, **{**HIDING, **options})
        return collector

    async def we_ask(self, key: bytes, **options: Any) -> tuple[Any, DHTNode]:
        """A client of ours."""
        node = await self.our_hidden_node()
        return await node.connect(key, Collector(Counter), **{**HIDDEN, **options}), node

    async def assert_echoes(self, protocol: Any, count: int = SOME) -> None:
        """All that is sent comes back."""
        Source(protocol.transport, pattern(count))
        await protocol.when(lambda: protocol.count == count)
        protocol.transport.loseWriteConnection()
        await protocol.when(lambda: protocol.has_all(count))

    def assert_relayed(self, protocol: Any, node: DHTNode) -> None:
        """A stream of ours goes where the relay is."""
        [link] = node._peering.core.room.relaying.links  # type: ignore[union-attr]
        self.assertEqual(link.way, (raw(protocol).socket, raw(protocol).address))

    def assert_ok(self, result: Event) -> None:
        self.assertEqual((True, SOME), (result["ok"], result["received"]))


class BlindRelayTests:
    """What holds for both profiles."""

    async def test_ours_for_theirs(self: Any) -> None:
        """Two JavaScript peers meet at our relay; when they part it has nothing of them left."""
        relay = await self.our_relay()
        await self.their_server(seed=OURS.seed, **THEY_HIDE)
        client = await self.their_client(relay_through=RELAY.public_key)
        self.assert_ok(await client.event("result"))
        stats = relay.stats
        self.assertEqual((2, 1, 1), (stats.peers, stats.couples, stats.matched))
        self.assertGreater(stats.packets, 2 * SOME / 1500)
        await client.event("close")
        await eventually(lambda: (relay.stats.peers, relay.stats.couples) == (0, 0))

    async def test_theirs_for_ours(self: Any) -> None:
        """Two of ours meet at a JavaScript relay, which is left when the stream is over."""
        await self.their_relay()
        await self.we_serve()
        protocol, node = await self.we_ask(OURS.public_key, relay_through=[RELAY.public_key])
        self.assert_relayed(protocol, node)
        await self.assert_echoes(protocol)
        await eventually(lambda: not node._peering.core.room.relaying.links)

    async def test_our_client(self: Any) -> None:
        """Ours meets a JavaScript server at a JavaScript relay."""
        await self.their_relay()
        await self.their_server(seed=THEIRS.seed, **THEY_HIDE)
        protocol, node = await self.we_ask(THEIRS.public_key, relay_through=[RELAY.public_key])
        self.assert_relayed(protocol, node)
        await self.assert_echoes(protocol)

    async def test_our_server(self: Any) -> None:
        """A JavaScript client meets ours there."""
        await self.their_relay()
        collector = await self.we_serve()
        client = await self.their_client(relay_through=RELAY.public_key)
        self.assert_ok(await client.event("result"))
        self.assertEqual(1, len(collector.built))

    async def test_server_proposes(self: Any) -> None:
        """A server of theirs proposes our relay to a client of ours, and the other way round."""
        await self.our_relay()
        await self.their_server(seed=THEIRS.seed, relay_through=RELAY.public_key, **THEY_HIDE)
        protocol, _ = await self.we_ask(THEIRS.public_key)
        await self.assert_echoes(protocol)
        await self.we_serve(relay_through=[RELAY.public_key])
        self.assert_ok(await (await self.their_client()).event("result"))


class TroubleTests(RelayCase):
    """What is the same in both."""

    profile = "hyperswarm"

    async def test_relay_stops(self) -> None:
        """When a JavaScript relay stops in the midst of a stream, that ends at once, and says why."""
        relay = await self.their_relay()
        collector = await self.we_serve()
        protocol, _ = await self.we_ask(OURS.public_key, relay_through=[RELAY.public_key])
        Source(protocol.transport, pattern(MANY))
        await protocol.when(lambda: protocol.count > SOME)
        await relay.stop()
        for end in (protocol, collector.built[0]):
            await end.loses()
            self.assertIsInstance(end.lost.value, RelayLostError)


class SpaceswarmBlindRelayTests(BlindRelayTests, RelayCase):
    """The same in one network."""

    profile = "spaceswarm"


class HyperswarmBlindRelayTests(BlindRelayTests, RelayCase):
    """And in the other."""

    profile = "hyperswarm"
