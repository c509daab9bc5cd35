"""Clients that keep their keys, and a proxy server that is a node of the real network: it has to ask them."""

from __future__ import annotations

from typing import Any

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import ConnectError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.wire import EventType
from tests.network.dht_world import ROOM
from tests.network.support import Collector, Echo, Recorder
from tests.proxy.answering import Answering
from tests.proxy.client_world import PipeEndpoint
from tests.proxy.sealed_world import SERVER
from tests.proxy.test_on_a_node import NodeTestCase

OWN = KeyPair.from_seed(b"o" * 32)


class SealedNodeTestCase(NodeTestCase):
    """A small network, our server as one of its nodes, a peer, and clients that are real."""

    def setUp(self) -> None:
        super().setUp()
        self.endpoint = PipeEndpoint(self.reactor, lambda: self.server.server.buildProtocol(SERVER))

    def sealed(self, **options: Any) -> ProxyNetwork:
        """A client that keeps its key, if it is not told otherwise."""
        network = ProxyNetwork(
            self.endpoint, key_pair=OWN, backoff=lambda attempt: 1.0, reactor=self.reactor, **options
        )
        self.networks.insert(0, network)  # type: ignore[arg-type]
        self.wait(network.when_online())
        return network

    def announced(self, **options: Any) -> tuple[ProxyNetwork, Collector]:
        """One that is found, and takes streams."""
        network, taken = self.sealed(**options), Collector(Echo)
        self.wait(network.listen(taken))
        self.wait(network.announce(ROOM).flushed())
        return network, taken

    def talks(self, protocol: Any) -> None:
        protocol.transport.write(b"hello")
        self.reactor.elapse(1)
        self.assertEqual(b"hello", bytes(protocol.received))

    def visit(self) -> Recorder:
        """The peer, which has nothing to do with the server, connects to the client, by its key."""
        visitor: Recorder = self.wait(self.peer.connect(Peer.keyed(OWN.public_key), Collector()))
        return visitor

    def cut(self) -> None:
        self.endpoint.refuses = True
        self.endpoint.pipes[-1][1].abortConnection()
        self.reactor.elapse(1)


class StreamTests(SealedNodeTestCase):
    """Streams with a peer of the network."""

    def test_visited(self) -> None:
        """A peer finds the client, and reaches it; both ends are encrypted from one process to the other."""
        _, taken = self.announced()
        self.assertEqual(1, self.told())
        near = self.visit()
        self.talks(near)
        for each in (near, taken.built[0]):
            assert each.transport is not None
            self.assertTrue(each.transport.getPeer().end_to_end)
        self.assertEqual(self.peer.public_key, taken.built[0].transport.getPeer().public_key)

    def test_connects(self) -> None:
        """The client reaches a peer."""
        self.wait(self.peer.listen(Collector(Echo)))
        near = self.wait(self.sealed().connect(Peer.keyed(self.peer.public_key), Collector()))
        self.talks(near)
        self.assertTrue(near.transport.getPeer().end_to_end)

    def test_silent_client(self) -> None:
        """A client that does not answer can't be reached; its server goes on."""
        silent = Answering(self.server, OWN, lambda question, truth: None)
        silent.client.join(ROOM, roles=3)
        self.reactor.elapse(30)
        self.assertEqual(0, self.told())
        self.fails(self.peer.connect(Peer.keyed(OWN.public_key), Collector()), ConnectError)
        self.reactor.elapse(20)
        self.assertFalse(silent.client.lost)
        self.assertLess(len(silent.client.link.asks), 30)  # it is tried again now and then
        silent.client.transport.abortConnection()
        self.reactor.elapse(1)

    def test_false_signatures(self) -> None:
        """A client whose signatures are none is not found, and nobody else notices."""

        def lie(question: Any, truth: Any) -> Any:
            if question.type == EventType.SIGN:
                truth.data = bytes(64)
            return truth

        liar = Answering(self.server, OWN, lie)
        liar.client.join(ROOM, roles=3)
        self.reactor.elapse(20)
        self.assertEqual((0, False), (self.told(), liar.client.lost))
        liar.client.transport.abortConnection()
        self.reactor.elapse(1)


class AnnouncedTests(SealedNodeTestCase):
    """Being found, which takes the client's signature."""

    def test_farewell(self) -> None:
        """A client that closes is found no more when it has closed, by neither topic nor key."""
        network, _ = self.announced()
        self.reactor.elapse(5)
        self.assertTrue(self.is_found(OWN.public_key))
        self.wait(network.close())
        self.assertEqual((0, False), (self.told(), self.is_found(OWN.public_key)))

    def test_suspended(self) -> None:
        """The same for one that is suspended; resumed, it is found again."""
        network, _ = self.announced()
        self.wait(network.suspend())
        self.assertEqual(0, self.told())
        self.wait(network.resume())
        self.reactor.elapse(5)
        self.assertEqual(1, self.told())
        self.talks(self.visit())

    def test_withdrawn(self) -> None:
        """One that leaves a topic, and stays, is not found there any more."""
        network = self.sealed()
        announcement = network.announce(ROOM)
        self.wait(announcement.flushed())
        self.wait(announcement.close())
        self.assertEqual(0, self.told())

    def test_cut(self) -> None:
        """Of one whose link is cut, nodes know for a while what it has signed; nobody can take that back."""
        self.announced()
        self.cut()
        self.reactor.elapse(30)
        self.assertEqual((1, 0), (self.told(), self.server.server.identities.kept))
        self.fails(self.peer.connect(Peer.keyed(OWN.public_key), Collector()), ConnectError)

    def test_another_mode(self) -> None:
        """A client that comes back giving the key that it has kept, or the other way round, is found and reached."""
        for mode in (None, False, None):
            network, _ = self.announced(end_to_end=mode)
            self.assertEqual(mode is None, network.seals)
            self.talks(self.visit())
            self.wait(network.close())
            self.reactor.elapse(1)


class GraceTests(SealedNodeTestCase):
    """A server that keeps who may come back."""

    options = {"identity_grace": 30.0}

    def test_flaps(self) -> None:
        """However often its link is lost, the network hears nothing of it, and the client is reached."""
        network, _ = self.announced()
        asked = self.counted()
        for _ in range(3):
            self.cut()
            self.assertEqual(1, self.told())
            self.endpoint.refuses = False
            self.wait(network.when_online())
            self.reactor.elapse(1)
            self.talks(self.visit())
        self.assertEqual([], asked)

    def test_another_mode(self) -> None:
        """A client that is cut off, and back in the other mode within the grace time, is reached."""
        network, _ = self.announced()
        self.cut()
        self.networks.remove(network)
        self.wait(network.close())
        self.endpoint.refuses = False
        custodial, _ = self.announced(end_to_end=False)
        self.assertFalse(custodial.seals)
        self.talks(self.visit())
