"""Streams to peers that are TCP services."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectionRefusedError, TimeoutError, UserError
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from spaceswarm_proxy.errors import ConnectCancelledError, ConnectTimeoutError, PeerUnreachableError
from spaceswarm_proxy.interfaces import HostPort, Peer, PeerAddress
from spaceswarm_proxy.network.streams import OpenStreams
from spaceswarm_proxy.network.tcp import dial
from tests.network.support import Collector, Echo, Recorder, unanswering

ADDRESS = HostPort("peer.example", 4321)


class FakeTransport(StringTransportWithDisconnection):
    """One that can be told not to delay."""

    no_delay = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled


class DialTests(SynchronousTestCase):
    """What becomes of an attempt."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.collector = Collector()
        self.streams = OpenStreams()

    def dial(self, collector: Collector | None = None) -> tuple[Any, Any]:
        """The Deferred, and the factory that Twisted's reactor got."""
        done = dial(self.reactor, ADDRESS, collector or self.collector, 7, streams=self.streams)
        host, port, factory, timeout, _ = self.reactor.tcpClients[0]
        self.assertEqual((host, port, timeout), (*ADDRESS, 7))
        return done, factory

    def connect(self, factory: Any) -> FakeTransport:
        transport = FakeTransport()
        transport.protocol = factory.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        return transport

    def test_connected(self) -> None:
        """
        The protocol is built for the peer's address, and is connected when the Deferred fires; anybody on the way can
        read what it says.
        """
        done, factory = self.dial()
        transport = self.connect(factory)
        protocol = self.successResultOf(done)
        self.assertEqual(self.collector.addresses, [PeerAddress(Peer.at(*ADDRESS))])
        self.assertFalse(self.collector.addresses[0].end_to_end)
        self.assertTrue(protocol.made)
        self.assertIs(protocol.transport, transport)
        self.assertIs(transport.protocol, protocol)
        self.assertTrue(transport.no_delay)

    def test_streams(self) -> None:
        """The connection is among the open streams until it is lost."""
        _, factory = self.dial()
        self.connect(factory)
        self.assertEqual(len(self.streams), 1)
        factory.clientConnectionLost(None, Failure(UserError()))
        self.assertEqual(len(self.streams), 0)

    def test_failures(self) -> None:
        """A timeout is one of ours, anything else is an unreachable peer; no protocol is built."""
        for problem, ours in (
            (TimeoutError(), ConnectTimeoutError),
            (ConnectionRefusedError(), PeerUnreachableError),
            (ValueError("invalid hostname"), PeerUnreachableError),
        ):
            self.setUp()
            done, factory = self.dial()
            factory.clientConnectionFailed(None, Failure(problem))
            self.failureResultOf(done, ours)
            self.assertEqual((self.collector.addresses, len(self.streams)), ([], 0))

    def test_no_protocol(self) -> None:
        """If the factory wants no protocol, or fails, the connection is aborted and the attempt fails."""
        for build, problem in ((lambda: None, ConnectCancelledError), (lambda: 1 // 0, ZeroDivisionError)):
            self.setUp()
            done, factory = self.dial(Collector(build))
            transport = self.connect(factory)
            self.failureResultOf(done, problem)
            self.assertTrue(transport.disconnected or transport.disconnecting or not transport.connected)

    def test_cancelled(self) -> None:
        """Cancelling ends the attempt."""
        done, factory = self.dial()
        done.cancel()
        self.failureResultOf(done, ConnectCancelledError)
        factory.clientConnectionFailed(None, Failure(UserError()))
        self.assertEqual(self.collector.addresses, [])


class RealTests(TestCase):
    """With real sockets."""

    timeout = 30

    def listen(self) -> tuple[Collector, HostPort]:
        collector = Collector(Echo)
        port = reactor.listenTCP(0, collector, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return collector, HostPort("127.0.0.1", port.getHost().port)

    async def test_there_and_back(self) -> None:
        """Bytes go there and back, and an abort of all open streams ends it."""
        collector, address = self.listen()
        streams = OpenStreams()
        protocol = await dial(reactor, address, Collector(), streams=streams)
        protocol.transport.write(b"hello")
        await protocol.receives(b"hello")
        await streams.abort()
        self.assertIsNotNone(protocol.lost)
        await collector.built[0].loses()

    async def test_refused(self) -> None:
        """Nobody listens there: unreachable."""
        port = reactor.listenTCP(0, Collector(), interface="127.0.0.1")  # type: ignore[attr-defined]
        number = port.getHost().port
        await port.stopListening()
        with self.assertRaises(PeerUnreachableError):
            await dial(reactor, HostPort("127.0.0.1", number), Collector())

    async def test_cancelled(self) -> None:
        """A cancelled attempt leaves no socket."""
        attempt = dial(reactor, unanswering(self), Collector())
        attempt.cancel()
        with self.assertRaises(ConnectCancelledError):
            await attempt

    async def test_cancelled_from_inside(self) -> None:
        """An attempt that is cancelled from inside ``connectionMade`` fails, and the connection ends."""

        class Cancelling(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                attempt.cancel()

        collector, address = self.listen()
        cancelling = Collector(Cancelling)
        attempt = dial(reactor, HostPort("localhost", address.port), cancelling)
        with self.assertRaises(ConnectCancelledError):
            await attempt
        await cancelling.built[0].loses()
        await (await collector.connected()).loses()

    async def test_connection_made_fails(self) -> None:
        """A protocol that fails in ``connectionMade`` fails the attempt, and loses its connection."""

        class Failing(Recorder):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        collector, address = self.listen()
        failing = Collector(Failing)
        with self.assertRaises(ZeroDivisionError):
            await dial(reactor, address, failing)
        await failing.built[0].loses()
        await (await collector.connected()).loses()
