"""A proxy server that is a node of the real network: what its clients are there, and what is left of them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.joint import node_network
from spaceswarm_proxy.proxy.features import Role
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.network.dht_world import ROOM, DHTNetworkTestCase
from tests.network.support import Collector, Echo
from tests.proxy.world import CUSTODIAL, RawClient, World

OPEN, FOUND = EventType.ON_STREAM_OPEN, EventType.ON_PEER
HALL = bytes(32)
GRACE = 30.0


class NodeTestCase(DHTNetworkTestCase):
    """A small network, our server as one of its nodes, and a peer that has nothing to do with it."""

    #: Of the server.
    options: dict[str, Any] = {}

    def setUp(self) -> None:
        super().setUp()
        self.net = self.world()
        self.peer = self.network(self.net)
        self.node = self.net.node()
        network = node_network(self.node, World(self.reactor).hub)
        self.server = World(self.reactor, network, **self.options)
        self.networks.insert(0, self.server.server)  # type: ignore[arg-type]
        self.reactor.elapse(1)

    def client(self, **fields: Any) -> RawClient:
        client = self.server.client(**fields)
        self.reactor.elapse(0.1)
        return client

    def our_client(self, key_pair: KeyPair, seconds: float = 5.0) -> RawClient:
        """A client that can say all that ours can, and has so much time to be announced."""
        client = self.client(features=int(CUSTODIAL), window=1000, key=key_pair.secret_key)
        client.join(ROOM, roles=int(Role.ANNOUNCE))
        self.reactor.elapse(seconds)
        return client

    def lose(self, client: RawClient) -> None:
        client.transport.abortConnection()
        self.reactor.elapse(5)

    def told(self) -> int:
        """How many peers the nodes of the network tell of."""
        keys = set()

        async def look() -> None:
            async for reply in self.peer.node.lookup(ROOM):
                keys.update(peer.public_key for peer in reply.value.peers)

        self.wait(Deferred.fromCoroutine(look()))
        return len(keys)

    def is_found(self, public_key: bytes) -> bool:
        """Does its key lead anywhere?"""

        async def look() -> bool:
            return bool([reply async for reply in self.node.find_peer(public_key)])

        return self.wait(Deferred.fromCoroutine(look()))

    def counted(self) -> list[str]:
        """:returns: a list of what the server's node is asked to tell others, which grows."""
        asked: list[str] = []
        for name in ("announce", "unannounce"):
            method = getattr(self.node, name)

            def counting(*arguments: Any, name: str = name, method: Any = method, **options: Any) -> Any:
                asked.append(name)
                return method(*arguments, **options)

            self.patch(self.node, name, counting)
        return asked


class JavaScriptClientTests(NodeTestCase):
    """Clients that can't say what they want."""

    def test_looks_only(self) -> None:
        """Such a client looks, and connects to what it finds; nobody finds it."""
        self.wait(self.peer.listen(Collector(Echo)))
        self.wait(self.peer.announce(ROOM).flushed())
        client = self.client()
        client.join(ROOM)
        self.reactor.elapse(2)
        self.assertEqual([self.peer.peer.id], [event.peer for event in client.events(FOUND)])
        client.connect(self.peer.peer.id)
        self.reactor.elapse(2)
        client.data(0, b"hello")
        self.reactor.elapse(1)
        self.assertEqual((b"hello", 1), (client.received(0), self.told()))

    def test_lost(self) -> None:
        """When its link is gone, so are its lookup, its dials and its streams."""
        listening = Collector()
        self.wait(self.peer.listen(listening))
        self.wait(self.peer.announce(ROOM).flushed())
        client = self.client()
        client.join(ROOM)
        self.reactor.elapse(2)
        client.connect(self.peer.peer.id)
        self.reactor.elapse(2)
        self.lose(client)
        server = self.server.server
        self.assertIsNotNone(listening.built[0].lost)
        self.assertEqual((0, 0, 0), (len(server.lookups), server.open_streams, server.identities.kept))

    def test_dial_lost(self) -> None:
        """A peer that was still being connected to hears no more of it."""
        listening = Collector()
        self.wait(self.peer.listen(listening))
        self.wait(self.peer.announce(ROOM).flushed())
        client = self.client()
        client.join(ROOM)
        self.reactor.elapse(2)
        client.connect(self.peer.peer.id)
        client.transport.abortConnection()
        self.reactor.elapse(30)
        self.assertTrue(all(protocol.lost for protocol in listening.built))
        self.assertEqual(0, self.server.server.open_streams)


class AnnouncedTests(NodeTestCase):
    """The same where the operator has them announced."""

    options = {"announce": True}

    def test_found(self) -> None:
        """Peers find such a client, by a key of its own, and their streams come with the topic."""
        client = self.client()
        client.join(ROOM)
        client.join(HALL)
        self.reactor.elapse(5)
        self.assertEqual(1, self.told())
        (record,) = {peer.public_key for peer in self.found()}
        near = self.wait(self.peer.connect(Peer.keyed(record), Collector()))
        near.transport.write(b"hello")
        self.reactor.elapse(1)
        (opened,) = client.events(OPEN)
        self.assertEqual((self.peer.peer.id, ROOM), (opened.peer, opened.topic))
        self.assertEqual(b"hello", client.received(0))

    def found(self) -> list[Peer]:
        told: list[Peer] = []

        async def look() -> None:
            async for reply in self.peer.node.lookup(ROOM):
                told.extend(reply.value.peers)

        self.wait(Deferred.fromCoroutine(look()))
        return told

    def test_known_topic(self) -> None:
        """Under several topics, it is the one in which the client has found the peer too."""
        self.wait(self.peer.announce(HALL).flushed())
        client = self.client()
        client.join(ROOM)
        client.join(HALL)
        self.reactor.elapse(5)
        (record,) = {peer.public_key for peer in self.found()}
        self.wait(self.peer.connect(Peer.keyed(record), Collector()))
        self.reactor.elapse(1)
        self.assertEqual([HALL], [event.topic for event in client.events(OPEN)])

    def test_lost(self) -> None:
        """When its link is gone, it is found no more: it could not come back as the same."""
        client = self.client()
        client.join(ROOM)
        self.reactor.elapse(5)
        self.lose(client)
        self.assertEqual(0, self.told())


class OperatorTests(NodeTestCase):
    """What the operator's own program takes, and tells."""

    def setUp(self) -> None:
        self.taken = Collector(Echo)
        self.options = {"handle_incoming": self.taken}
        super().setUp()

    def test_handle_incoming(self) -> None:
        """The server itself is found under what its clients have joined, and takes streams."""
        client = self.client()
        client.join(ROOM)
        self.reactor.elapse(5)
        near = self.wait(self.peer.connect(Peer.keyed(self.server.server.network.public_key), Collector()))
        near.transport.write(b"hello")
        self.reactor.elapse(1)
        self.assertEqual((b"hello", 1), (near.received, self.told()))
        self.lose(client)
        self.assertEqual(0, self.told())

    def test_connect_clients_to(self) -> None:
        """Clients are told of a TCP service that the program names."""
        client = self.client()
        client.join(ROOM)
        self.reactor.elapse(1)
        self.server.server.connect_clients_to(ROOM, 80, "192.0.2.1")
        self.reactor.elapse(1)
        self.assertIn(b"192.0.2.1:80:" + ROOM.hex().encode(), [event.peer for event in client.events(FOUND)])


class GraceTests(NodeTestCase):
    """A client that may come back."""

    options = {"identity_grace": GRACE}

    def setUp(self) -> None:
        super().setUp()
        self.key_pair = KeyPair.generate()

    def test_flaps(self) -> None:
        """However often its link is lost, if it is back in time the network hears nothing of it."""
        client = self.our_client(self.key_pair)
        asked = self.counted()
        for _ in range(5):
            self.lose(client)
            self.assertEqual(1, self.told())
            client = self.our_client(self.key_pair)
        self.assertEqual([], asked)
        self.wait(self.peer.connect(Peer.keyed(self.key_pair.public_key), Factory.forProtocol(Echo)))
        self.reactor.elapse(1)
        self.assertEqual(1, len(client.events(OPEN)))

    def test_gone(self) -> None:
        """If it is not, it is found no more, and its key leads nowhere."""
        self.lose(self.our_client(self.key_pair))
        self.reactor.elapse(GRACE - 10)
        self.assertEqual(1, self.told())
        self.reactor.elapse(15)
        self.assertEqual(0, self.told())
        self.assertFalse(self.is_found(self.key_pair.public_key))

    def test_farewell(self) -> None:
        """A client that leaves is not waited for."""
        client = self.our_client(self.key_pair)
        client.send(Event(EventType.LEAVE, topic=ROOM))
        self.reactor.elapse(0.1)
        self.lose(client)
        self.assertEqual(0, self.told())

    def test_back_at_once(self) -> None:
        """One that leaves, and is back as the same while the network is still being told, is announced after that."""
        client = self.our_client(self.key_pair)
        asked = self.counted()
        telling: Deferred[None] = Deferred()
        unannounce = self.node.unannounce
        self.patch(
            self.node,
            "unannounce",
            lambda *args, **options: telling.addCallback(lambda _: unannounce(*args, **options)),
        )
        client.send(Event(EventType.LEAVE, topic=ROOM))
        self.reactor.elapse(0.1)
        client.transport.abortConnection()
        client = self.our_client(self.key_pair, 1.0)
        self.assertEqual([], asked)
        telling.callback(None)
        self.reactor.elapse(5)
        self.assertEqual((["unannounce", "announce"], 1), (asked[:2], self.told()))
        self.wait(self.peer.connect(Peer.keyed(self.key_pair.public_key), Factory.forProtocol(Echo)))
        self.reactor.elapse(1)
        self.assertEqual(1, len(client.events(OPEN)))

    def test_server_stops(self) -> None:
        """A server that stops keeps nobody announced."""
        self.lose(self.our_client(self.key_pair))
        self.wait(self.server.server.close())
        self.assertEqual(0, self.told())
