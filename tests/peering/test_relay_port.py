"""A relay of our own at work: :mod:`spaceswarm_proxy.peering.relay_port`, and peers that meet there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import CannotHolepunchError, RelayAbortedError, RelayLostError, StreamError
from spaceswarm_proxy.interfaces import PeerAddress
from spaceswarm_proxy.peering import relay_link, runner
from spaceswarm_proxy.peering.connector import Connector
from spaceswarm_proxy.peering.holepunch_client import HolepunchClient
from spaceswarm_proxy.peering.mux_protocol import MuxProtocol
from spaceswarm_proxy.peering.node import DHTNode
from spaceswarm_proxy.peering.noise_payload import RelayThrough
from spaceswarm_proxy.peering.relay_client import RelayClient
from spaceswarm_proxy.peering.relay_port import RelayPort
from spaceswarm_proxy.peering.relay_server import RelayLimits
from spaceswarm_proxy.testing import TestNet
from spaceswarm_proxy.udx import recovery
from tests.network.support import Collector, Echo, Recorder, Source, Watched

SERVER = KeyPair.from_seed(bytes([1]) * 32)
RELAY = KeyPair.from_seed(bytes([2]) * 32)
MUCH = bytes(range(256)) * 8192


class Observer(Watched):
    """Writes down what happens at a relay."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def came(self, public_key: bytes) -> None:
        self.told.append(("came", public_key))
        self.changed()

    def left(self, public_key: bytes) -> None:
        self.told.append(("left", public_key))
        self.changed()

    def coupled(self) -> None:
        self.told.append("coupled")
        self.changed()

    def left_by(self, count: int) -> Deferred[None]:
        """:returns: a Deferred that fires when so many have left."""
        return self.when(lambda: sum(each[0] == "left" for each in self.told) == count)


class RelayPortCase(TestCase):
    """A network, a relay in it, and peers that need it."""

    timeout = 20

    async def build(self, **options: Any) -> RelayPort:
        """:param options: of the relay."""
        # Who waits for a lost last word, or takes leave of somebody who is gone, does so no longer than the test needs.
        self.patch(relay_link, "LINGER", 0.05)
        self.patch(runner, "FAREWELL", 0.2)
        self.net = TestNet(or_global(None), 6)
        self.addCleanup(self.net.close)
        await self.net.ready()
        self.observer = Observer()
        self.relay_node = self.net.node(ephemeral=False, firewalled=False)
        await self.relay_node.ready()
        self.relay = await self.relay_node.relay(RELAY, observer=self.observer, **options)
        return self.relay

    async def peer(self) -> DHTNode:
        """:returns: one more node, which nobody can reach unasked, as it thinks."""
        node = self.net.node()
        await node.ready()
        node._core.firewalled = True
        return node

    async def serve(self, build: Callable[[], Recorder] = Echo, **options: Any) -> Collector:
        """Listen as :data:`SERVER`; nobody finds a way there but through a relay, unless told otherwise."""
        self.server = await self.peer()
        collector = Collector(build)
        await self.server.listen(SERVER, collector, **{"share_local_address": False, "holepunch": False, **options})
        return collector

    def connecting(self, node: DHTNode, **options: Any) -> Deferred[Any]:
        """Begin to connect to it."""
        settings = {"local_connection": False, "relay_through": [RELAY.public_key]}
        return node.connect(SERVER.public_key, Collector(Recorder), **{**settings, **options})

    async def connect(self, **options: Any) -> Any:
        """:returns: the protocol of a client that has."""
        self.client = await self.peer()
        return await self.connecting(self.client, **options)

    def links(self, node: DHTNode) -> list[Any]:
        """The connections that a node has with relays."""
        return node._peering.core.room.relaying.links  # type: ignore[union-attr]

    def raw(self, protocol: Any) -> Any:
        """The stream below an encrypted one."""
        return protocol.transport._connection._carrier.stream


class RelayedTests(RelayPortCase):
    """Streams through a relay."""

    async def test_life(self) -> None:
        """Peers come, are coupled and talk; when they part, nothing of them is left, there and here."""
        relay = await self.build()
        await self.serve()
        protocol = await self.connect()
        self.assertEqual([self.links(self.client)[0].way], [(self.raw(protocol).socket, self.raw(protocol).address)])
        protocol.transport.write(b"hello")
        await protocol.receives(b"hello")
        stats = relay.stats
        self.assertEqual((2, 0, 1, 2, 1), (stats.peers, stats.waiting, stats.couples, stats.requested, stats.matched))
        self.assertLess(4, stats.packets)
        protocol.transport.loseConnection()
        await self.observer.left_by(2)
        stats = relay.stats
        self.assertEqual((0, 0), (stats.peers, stats.couples))
        self.assertEqual(([], []), (self.links(self.client), self.links(self.server)))
        keys = {self.client.key_pair.public_key, self.server.key_pair.public_key}
        self.assertEqual(keys, {each[1] for each in self.observer.told if each[0] == "came"})
        self.assertEqual(1, self.observer.told.count("coupled"))
        self.assertEqual(0, len(self.relay_node._peering.streams.core._sources))

    async def test_server_proposes(self) -> None:
        """The server may be the one who has chosen the relay."""
        relay = await self.build()
        await self.serve(relay_through=[RELAY.public_key])
        protocol = await self.connect(relay_through=())
        protocol.transport.write(b"hello")
        await protocol.receives(b"hello")
        self.assertEqual(1, relay.stats.couples)

    async def test_first_packet(self) -> None:
        """Whoever hears the other one says something at once: by that both see what a relay has lost."""
        await self.build()
        await self.serve()
        protocol = await self.connect()
        keep_alive = 20
        self.assertEqual(keep_alive, protocol.transport.raw_bytes_written)

    async def test_many(self) -> None:
        """Several streams share one connection with the relay, each way."""
        relay = await self.build()
        await self.serve()
        self.client = await self.peer()
        protocols = [await self.connecting(self.client, key_pair=KeyPair.generate()) for _ in range(5)]
        for number, protocol in enumerate(protocols):
            protocol.transport.write(b"%d" % number)
            await protocol.receives(b"%d" % number)
        self.assertEqual((2, 5), (relay.stats.peers, relay.stats.couples))

    async def test_much(self) -> None:
        """Megabytes come through as they are."""
        await self.build()
        await self.serve()
        protocol = await self.connect()
        Source(protocol.transport, MUCH)
        await protocol.when(lambda: len(protocol.received) == len(MUCH))
        self.assertEqual(sha256(MUCH).digest(), protocol.digest)


class MovingTests(RelayPortCase):
    """Streams that find a better way."""

    async def test_upgrade_under_traffic(self) -> None:
        """A stream that is in full swing changes to a direct way; nothing is lost, and the relay is left."""
        relay = await self.build()
        held: list[Callable[[], None]] = []
        start = HolepunchClient.start
        self.patch(HolepunchClient, "start", lambda punching, now: held.append(partial(start, punching, now)))
        await self.serve(holepunch=True)
        protocol = await self.connect()
        relayed_way = self.raw(protocol).address
        Source(protocol.transport, MUCH)
        await protocol.when(lambda: len(protocol.received) > len(MUCH) // 8)
        self.assertEqual(1, relay.stats.couples)
        [punch] = held
        punch()
        self.client._peering.arm()
        await self.observer.left_by(2)
        self.assertNotEqual(relayed_way, self.raw(protocol).address)
        packets = relay.stats.packets
        await protocol.when(lambda: len(protocol.received) == len(MUCH))
        Source(protocol.transport, MUCH)
        await protocol.when(lambda: len(protocol.received) == 2 * len(MUCH))
        self.assertEqual(sha256(2 * MUCH).digest(), protocol.digest)
        self.assertEqual(packets, relay.stats.packets)
        self.assertEqual(set(), self.client._peering.core.connectors)


class TroubleTests(RelayPortCase):
    """What goes wrong."""

    def without_punching(self) -> None:
        """It is all up to the relay."""
        problem = CannotHolepunchError()
        self.patch(Connector, "_punch", lambda connector, answer, info, now: connector._lost(problem, now))

    async def test_relay_stops(self) -> None:
        """When the relay stops, streams through it end at once, and say why."""
        relay = await self.build()
        collector = await self.serve()
        protocol = await self.connect()
        await relay.stopListening()
        served = await collector.connected()
        for end in (protocol, served):
            await end.loses()
            self.assertIsInstance(end.lost.value, RelayLostError)
        self.assertEqual(0, relay.stats.couples)

    async def test_relay_vanishes(self) -> None:
        """When it is gone without a word, they end as soon as that is certain."""
        await self.build()
        await self.serve()
        protocol = await self.connect(keep_alive=0.1)
        self.patch(recovery, "_GIVE_UP", 2.0)
        self.relay_node._runner.ports.close()
        protocol.transport.write(b"is anybody there?")
        await protocol.loses()
        self.assertIsInstance(protocol.lost.value, StreamError)

    async def test_no_relay(self) -> None:
        """Where there is no such relay, that is what is in the way."""
        self.without_punching()
        await self.build()
        await self.serve()
        client, nobody = await self.peer(), KeyPair.generate().public_key
        problem = await self.assertFailure(self.connecting(client, relay_through=[nobody]), RelayAbortedError)
        self.assertIn("PEER_NOT_FOUND", str(problem))

    async def test_no_key(self) -> None:
        """What cannot be a relay's key is refused at once."""
        await self.build()
        node = await self.peer()
        for keys in ([b"short"], [RELAY.public_key, bytes(33)]):
            await self.assertFailure(self.connecting(node, relay_through=keys), ValueError)
            await self.assertFailure(node.listen(None, Collector(), relay_through=keys), ValueError)

    async def test_refused(self) -> None:
        """Whom the relay's firewall refuses is not served."""
        asked: list[PeerAddress] = []

        def firewall(peer: PeerAddress) -> bool:
            asked.append(peer)
            return True

        self.without_punching()
        relay = await self.build(firewall=firewall)
        await self.serve()
        client = await self.peer()
        connecting = self.connecting(client)
        await self.assertFailure(connecting, RelayAbortedError)
        self.assertEqual(0, relay.stats.requested)
        self.assertIn(client.key_pair.public_key, [peer.public_key for peer in asked])

    async def test_too_many(self) -> None:
        """There are so many peers at most, and so many streams."""
        self.without_punching()
        relay = await self.build(limits=RelayLimits(max_peers=2, max_couples=1))
        await self.serve()
        protocol = await self.connect()
        await self.assertFailure(self.connecting(self.client, key_pair=KeyPair.generate()), RelayAbortedError)
        await self.assertFailure(self.connecting(await self.peer()), RelayAbortedError)
        self.assertEqual((2, 1), (relay.stats.peers, relay.stats.couples))
        protocol.transport.write(b"x")
        await protocol.receives(b"x")

    async def test_flood(self) -> None:
        """Who asks for thousands of places has as many as are allowed, and is refused the others; nobody notices."""
        relay = await self.build(limits=RelayLimits(max_places=10))
        await self.serve()
        client = await self.peer()
        told: list[Any] = []
        flood = MuxProtocol(client._peering.now, lambda: None, lambda reason: None)
        pairing = RelayClient(flood.mux, client.key_pair.public_key, 0.0)
        await client._dial_relay(RELAY.public_key, flood).result
        refused: Deferred[None] = Deferred()

        def done(answer: Any, now: float) -> None:
            told.append(answer)
            if len(told) == 1990:
                refused.callback(None)

        for number in range(2000):
            pairing.pair(number.to_bytes(32, "little"), True, 1, done, client._peering.now())
        await refused
        self.assertEqual((10, 1990), (relay.stats.waiting, relay.stats.refused))
        protocol = await self.connect()
        protocol.transport.write(b"x")
        await protocol.receives(b"x")

    async def test_expires(self) -> None:
        """A place that nobody comes to is given up."""
        relay = await self.build(limits=RelayLimits(pairing_timeout=0.1))
        client = await self.peer()
        relaying: Any = client._peering.core.room.relaying
        told: Deferred[Any] = Deferred()
        place, raw = RelayThrough(RELAY.public_key, bytes(32)), client._peering.streams.core.create()
        now = client._peering.now()
        relaying.meet(place, True, raw, self.fail, lambda problem, now: told.callback(problem), now)
        self.assertIsInstance(await told, RelayAbortedError)
        self.assertEqual((0, 1), (relay.stats.waiting, relay.stats.expired))
