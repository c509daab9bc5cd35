"""Tests for ``spaceswarm_proxy.own_network``."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from spaceswarm_proxy.endpoints import PeerClientEndpoint, TopicServerEndpoint
from spaceswarm_proxy.errors import NotSupportedError, PeerUnreachableError
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.own_network import OwnNetworkClientEndpoint, OwnNetworkServerEndpoint
from spaceswarm_proxy.topics import topic
from tests.fakes import FakeNetwork


@implementer(IHalfCloseableProtocol)
class HalfCloser(Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def readConnectionLost(self) -> None:
        self.told.append("read")

    def writeConnectionLost(self) -> None:
        self.told.append("write")


class OwnNetworkTests(SynchronousTestCase):
    """Nothing of the network is left behind."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.networks: list[FakeNetwork] = []
        self.factory = Factory.forProtocol(Protocol)

        def make() -> FakeNetwork:
            self.networks.append(FakeNetwork())
            return self.networks[-1]

        self.server = OwnNetworkServerEndpoint(make, lambda network: TopicServerEndpoint(network, topic("room")))
        self.client = OwnNetworkClientEndpoint(
            make, lambda network: PeerClientEndpoint(network, Peer(b"bob"), 5, self.clock)
        )

    def test_server(self) -> None:
        """A port's network is closed when it stops."""
        verifyObject(IStreamServerEndpoint, self.server)
        listening = self.server.listen(self.factory)
        network = self.networks[0]
        network.announcements[0].done.callback(None)
        port: Any = self.successResultOf(listening)
        verifyObject(IListeningPort, port)
        self.assertEqual((port.getHost(), network.closes), (network.ports[0].getHost(), 0))
        self.successResultOf(port.stopListening())
        self.assertEqual((network.ports[0].stops, network.closes), (1, 1))

    def test_server_refused(self) -> None:
        """It is closed too when the listening comes to nothing."""
        listening = self.server.listen(self.factory)
        self.networks[0].announcements[0].done.errback(NotSupportedError())
        self.failureResultOf(listening, NotSupportedError)
        self.assertEqual(self.networks[0].closes, 1)

    def test_client(self) -> None:
        """A connection's network is closed when it ends; the protocol is the user's own."""
        verifyObject(IStreamClientEndpoint, self.client)
        connecting = self.client.connect(self.factory)
        network = self.networks[0]
        wrapper: Any = network.attempts[0].succeed()
        protocol: Any = self.successResultOf(connecting)
        self.assertEqual((type(protocol), protocol.factory), (Protocol, self.factory))
        protocol.transport.write(b"x")
        self.assertEqual((network.attempts[0].transport.value(), network.closes), (b"x", 0))
        wrapper.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(network.closes, 1)

    def test_half_close(self) -> None:
        """A protocol that knows of half-closed connections is told of them; for another it is not claimed."""
        wrapper: Any
        for user, knows in ((HalfCloser(), True), (Protocol(), False)):
            self.factory.buildProtocol = lambda _, user=user: user  # type: ignore[method-assign, misc]
            self.client.connect(self.factory)
            wrapper = self.networks[-1].attempts[0].succeed()
            self.assertEqual(IHalfCloseableProtocol.providedBy(wrapper), knows)
            if isinstance(user, HalfCloser):
                wrapper.readConnectionLost()
                wrapper.writeConnectionLost()
                self.assertEqual(user.told, ["read", "write"])

    def test_client_fails(self) -> None:
        """It is closed too when no connection comes about, or it is cancelled."""
        connecting = self.client.connect(self.factory)
        self.networks[0].attempts[0].fail(PeerUnreachableError())
        self.failureResultOf(connecting, PeerUnreachableError)
        connecting = self.client.connect(self.factory)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual([network.closes for network in self.networks], [1, 1])

    def test_each_its_own(self) -> None:
        """Two connections have two networks."""
        first, second = self.client.connect(self.factory), self.client.connect(self.factory)
        self.networks[0].attempts[0].succeed()
        self.successResultOf(first)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual([network.closes for network in self.networks], [0, 1])
