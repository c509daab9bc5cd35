"""Tests for ``spaceswarm_proxy.original``: what users of the JavaScript package expect."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.network.pipe import pipe
from spaceswarm_proxy.original import SpaceswarmProxyClient, SpaceswarmProxyServer
from tests.dht.stepping import SteppedTestCase
from tests.proxy.world import TOPIC, Peers, settle

HERE, THERE = (PeerAddress(Peer.at("198.51.100.1", port)) for port in (1, 4978))


@implementer(IStreamClientEndpoint)
class ToServer:
    """An endpoint that leads to a server in this process."""

    def __init__(self, clock: Clock, server: SpaceswarmProxyServer) -> None:
        self.clock = clock
        self.server = server

    def connect(self, factory: Any) -> Any:
        near, far = pipe(self.clock, HERE, THERE)
        far.attach(self.server.buildProtocol(HERE))
        protocol = factory.buildProtocol(THERE)
        near.attach(protocol)
        return succeed(protocol)


class OriginalTestCase(SynchronousTestCase):
    """A server on a hub where one peer is found."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = LocalHub(self.clock)
        self.server = SpaceswarmProxyServer(self.hub.network(), reactor=self.clock)
        self.peers = Peers()
        other = self.hub.network()
        other.listen(self.peers)
        other.announce(TOPIC)
        self.told: list[tuple[Any, ...]] = []

    def tearDown(self) -> None:
        self.server.destroy()
        self.hub.close()
        settle(self.clock)
        self.clock.advance(60)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def client(self, **options: Any) -> SpaceswarmProxyClient:
        client = SpaceswarmProxyClient(ToServer(self.clock, self.server), reactor=self.clock, **options)
        self.addCleanup(client.destroy)
        for name in ("connection", "disconnection", "peer", "updated", "disconnected"):
            client.on(name, lambda *args, name=name: self.told.append((name, *args)))
        settle(self.clock)
        return client

    def names(self) -> list[str]:
        return [each[0] for each in self.told]

    def settle(self) -> None:
        settle(self.clock)
        self.clock.advance(1)
        settle(self.clock)


class ClientTests(OriginalTestCase):
    """``SpaceswarmProxyClient``."""

    def test_connects_by_itself(self) -> None:
        """A joined topic's peers are told and connected to; data, end and close are events of the connection."""
        client = self.client()
        client.join(TOPIC)
        self.settle()
        self.assertEqual([name for name in self.names() if name != "updated"], ["peer", "connection"])
        stream = client.connections[0]
        heard: list[Any] = []
        for name in ("data", "end", "close"):
            stream.events.on(name, lambda *args, name=name: heard.append((name, *args)))
        stream.write(b"hello")
        self.peers.built[0].transport.write(b"world")
        self.settle()
        self.assertEqual(self.peers.built[0].received, b"hello")
        self.peers.built[0].transport.loseWriteConnection()
        stream.end()
        self.settle()
        self.assertEqual([each[0] for each in heard], ["data", "end", "close"])
        self.assertIn("disconnection", self.names())
        client.destroy()
        self.settle()

    def test_by_hand(self) -> None:
        """Without autoconnect peers are only told, once; ``connect`` connects; ``leave`` leaves."""
        client = self.client(autoconnect=False)
        client.join(TOPIC)
        self.settle()
        self.assertEqual(self.peers.built, [])
        peer = next(each[1] for each in self.told if each[0] == "peer")
        protocol = self.successResultOf(self._settled(client.connect(peer)))
        protocol.write(b"by hand")
        self.settle()
        self.assertEqual(self.peers.built[0].received, b"by hand")
        self.assertIsNone(self.successResultOf(self._settled(client.leave(TOPIC))))
        self.assertEqual(len(self.server.lookups), 0)
        client.destroy()
        self.settle()

    def _settled(self, deferred: Any) -> Any:
        self.settle()
        return deferred

    def test_reconnect(self) -> None:
        """Another link takes over what was joined; the old one's end is not told."""
        client = self.client()
        client.join(TOPIC)
        self.settle()
        client.reconnect(ToServer(self.clock, self.server))
        self.settle()
        self.assertEqual(len(self.peers.built), 2)
        self.assertNotIn("disconnected", self.names())
        client.destroy()
        self.settle()

    def test_link_lost(self) -> None:
        """``disconnected`` tells when the link is lost."""
        client = self.client()
        next(iter(self.server.links)).transport.abortConnection()
        self.settle()
        self.assertIn("disconnected", self.names())
        client.destroy()
        self.settle()

    def test_without_a_link(self) -> None:
        """Without a connection ``join`` and ``connect`` fail; after ``destroy`` so does ``reconnect``."""
        client = SpaceswarmProxyClient(reactor=self.clock)
        self.assertRaises(ClosedError, client.join, TOPIC)
        self.assertRaises(ClosedError, client.connect, Peer.at("192.0.2.1", 1))
        self.assertEqual(client.connections, ())
        self.successResultOf(client.destroy())
        self.assertRaises(ClosedError, client.reconnect, ToServer(self.clock, self.server))


class ServerTests(SteppedTestCase):
    """``SpaceswarmProxyServer``, which is a node of the real network unless it is given another one."""

    def close(self, server: SpaceswarmProxyServer) -> None:
        done = server.destroy()
        self.reactor.elapse(5)
        self.successResultOf(done)

    def test_a_node_of_its_own(self) -> None:
        """The node begins where it is told to, as ephemeral as it is told to be, and ends with the server."""
        net = self.net(2, profile="hyperswarm")
        server = SpaceswarmProxyServer(
            bootstrap=net.bootstrap, ephemeral=True, profile="hyperswarm", reactor=self.reactor
        )
        self.reactor.elapse(1)
        node = server.network.far.node
        self.assertEqual(("hyperswarm", True, True), (node.profile.name, node.online, node.ephemeral))
        self.close(server)

    def test_nobody_answers(self) -> None:
        """Without anybody who answers it serves its clients all the same."""
        server = SpaceswarmProxyServer(bootstrap=[], reactor=self.reactor)
        self.assertTrue(server.network.status().online)
        self.close(server)

    def test_another_network(self) -> None:
        """What is said of a node makes no sense for a network that is there already."""
        network = LocalHub(self.reactor).network()
        for options in ({"bootstrap": ["a:1"]}, {"ephemeral": True}, {"profile": "hyperswarm"}):
            self.assertRaises(ValueError, SpaceswarmProxyServer, network, **options)
        network.close()
