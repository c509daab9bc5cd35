"""Tests for ``spaceswarm_proxy.endpoints``."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.endpoints import (
    ATTEMPT_TIMEOUT,
    MAX_CANDIDATES,
    PeerClientEndpoint,
    TopicClientEndpoint,
    TopicServerEndpoint,
)
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectTimeoutError,
    NotSupportedError,
    PeerUnreachableError,
)
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.topics import topic
from tests.fakes import FakeNetwork

ROOM = topic("my room")
ALICE, BOB = Peer(b"alice"), Peer(b"bob")


class TopicServerTests(SynchronousTestCase):
    """Being found under a topic."""

    def setUp(self) -> None:
        self.network = FakeNetwork()
        self.factory = Factory.forProtocol(Protocol)
        self.endpoint = TopicServerEndpoint(self.network, ROOM)

    def test_listens_and_announces(self) -> None:
        """The port comes when others can find us, and its host is the network's."""
        verifyObject(IStreamServerEndpoint, self.endpoint)
        listening = self.endpoint.listen(self.factory)
        self.assertIs(self.network.ports[0].factory, self.factory)
        self.assertEqual(self.network.announcements[0].topic, ROOM)
        self.assertNoResult(listening)
        self.network.announcements[0].done.callback(None)
        port = self.successResultOf(listening)
        verifyObject(IListeningPort, port)
        self.assertEqual(port.getHost(), self.network.ports[0].getHost())
        self.assertRaises(CannotListenError, port.startListening)

    def test_stops_both(self) -> None:
        """Stopping ends the announcement and the listening, and leaves the network alone."""
        listening = self.endpoint.listen(self.factory)
        self.network.announcements[0].done.callback(None)
        port: Any = self.successResultOf(listening)
        self.successResultOf(port.stopListening())
        self.assertTrue(self.network.announcements[0].closed)
        self.assertEqual((self.network.ports[0].stops, self.network.closes), (1, 0))

    def test_refused(self) -> None:
        """When the announcement is refused, at once or later, nothing is left listening."""
        listening = self.endpoint.listen(self.factory)
        self.network.announcements[0].done.errback(NotSupportedError())
        self.failureResultOf(listening, NotSupportedError)
        self.network.refusal = ClosedError()
        self.failureResultOf(self.endpoint.listen(self.factory), ClosedError)
        self.assertEqual([port.stops for port in self.network.ports], [1, 1])
        self.assertTrue(self.network.announcements[0].closed)

    def test_cancelled(self) -> None:
        """A cancelled ``listen`` leaves nothing."""
        listening = self.endpoint.listen(self.factory)
        listening.cancel()
        self.failureResultOf(listening, CancelledError)
        self.assertEqual((self.network.ports[0].stops, self.network.announcements[0].closed), (1, True))

    def test_bad_topic(self) -> None:
        """A topic that is not 32 bytes is refused at once, for clients too."""
        for endpoint in (TopicServerEndpoint, TopicClientEndpoint):
            self.assertRaises(ValueError, endpoint, self.network, b"room")


class PeerClientTests(SynchronousTestCase):
    """Connecting to one peer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = FakeNetwork()
        self.endpoint = PeerClientEndpoint(self.network, ALICE, timeout=5, reactor=self.clock)

    def test_connects(self) -> None:
        """The protocol is the network's."""
        verifyObject(IStreamClientEndpoint, self.endpoint)
        connecting = self.endpoint.connect(Factory.forProtocol(Protocol))
        self.assertIs(self.network.attempts[0].peer, ALICE)
        protocol = self.network.attempts[0].succeed()
        self.assertIs(self.successResultOf(connecting), protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fails(self) -> None:
        """So is the error."""
        connecting = self.endpoint.connect(Factory.forProtocol(Protocol))
        self.network.attempts[0].fail(PeerUnreachableError())
        self.failureResultOf(connecting, PeerUnreachableError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_slow(self) -> None:
        """After the timeout the attempt is cancelled: ``ConnectTimeoutError``, whatever the network makes of it."""
        for on_cancel in (None, ConnectCancelledError(), PeerUnreachableError()):
            connecting = self.endpoint.connect(Factory.forProtocol(Protocol))
            self.network.attempts[-1].on_cancel = on_cancel
            self.clock.advance(5)
            self.failureResultOf(connecting, ConnectTimeoutError)
            self.assertTrue(self.network.attempts[-1].cancelled)


class TopicClientTests(SynchronousTestCase):
    """Connecting to whoever is found."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = FakeNetwork()
        self.endpoint = TopicClientEndpoint(self.network, ROOM, reactor=self.clock)
        self.connecting = self.endpoint.connect(Factory.forProtocol(Protocol))
        self.lookup = self.network.lookups[0]

    def found(self, *peers: Peer) -> None:
        for peer in peers:
            self.lookup.receiver.peer_found(peer)
        self.lookup.receiver.lookup_updated()

    @property
    def tried(self) -> list[Peer]:
        return [attempt.peer for attempt in self.network.attempts]

    def check_over(self) -> None:
        """Nothing is left of it."""
        self.assertTrue(self.lookup.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_first(self) -> None:
        """The first peer that is found is connected to, and the lookup ends."""
        verifyObject(IStreamClientEndpoint, self.endpoint)
        self.assertEqual(self.lookup.topic, ROOM)
        self.found(ALICE, BOB)
        protocol = self.network.attempts[0].succeed()
        self.assertIs(self.successResultOf(self.connecting), protocol)
        self.assertEqual(self.tried, [ALICE])
        self.check_over()

    def test_next(self) -> None:
        """One that fails gives way to the next, and is tried again when it is found again."""
        self.found(ALICE, BOB, ALICE)
        self.network.attempts[0].fail(PeerUnreachableError())
        self.network.attempts[1].fail(PeerUnreachableError())
        self.network.attempts[2].fail(PeerUnreachableError())
        self.assertEqual(self.tried, [ALICE, BOB, ALICE])
        self.assertNoResult(self.connecting)
        self.found(BOB)
        self.network.attempts[3].succeed()
        self.successResultOf(self.connecting)
        self.check_over()

    def test_slow_one(self) -> None:
        """One that takes too long gives way too."""
        self.found(ALICE, BOB)
        self.clock.advance(ATTEMPT_TIMEOUT)
        self.assertTrue(self.network.attempts[0].cancelled)
        self.network.attempts[1].succeed()
        self.successResultOf(self.connecting)
        self.check_over()

    def test_nobody(self) -> None:
        """When nobody is found in time, that is a ``ConnectTimeoutError``."""
        self.clock.advance(30)
        self.failureResultOf(self.connecting, ConnectTimeoutError)
        self.check_over()

    def test_nobody_reachable(self) -> None:
        """When nobody can be connected to in time, the error's cause is the last one's."""
        self.found(ALICE)
        problem = PeerUnreachableError("gone")
        self.network.attempts[0].fail(problem)
        self.clock.advance(30)
        self.assertIs(self.failureResultOf(self.connecting, ConnectTimeoutError).value.__cause__, problem)
        self.check_over()

    def test_time_runs_out_while_connecting(self) -> None:
        """The time limit ends an attempt under way, whatever error the network makes of that."""
        self.clock.advance(25)
        self.found(ALICE, BOB)
        self.network.attempts[0].on_cancel = ConnectCancelledError()
        self.clock.advance(5)
        self.failureResultOf(self.connecting, ConnectTimeoutError)
        self.assertEqual(self.tried, [ALICE])
        self.check_over()

    def test_refused(self) -> None:
        """A lookup that is refused fails the connection, once those that are known have been tried."""
        self.found(ALICE)
        self.lookup.done.errback(NotSupportedError())
        self.assertNoResult(self.connecting)
        self.network.attempts[0].fail(PeerUnreachableError())
        self.failureResultOf(self.connecting, NotSupportedError)
        self.check_over()

    def test_refused_at_once(self) -> None:
        """So does one that is refused while nobody is known."""
        self.lookup.done.errback(NotSupportedError())
        self.failureResultOf(self.connecting, NotSupportedError)
        self.check_over()

    def test_cancelled(self) -> None:
        """Cancelling ends the wait, or the attempt under way, and no other is begun."""
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)
        self.check_over()
        connecting = self.endpoint.connect(Factory.forProtocol(Protocol))
        self.lookup = self.network.lookups[1]
        self.found(ALICE, BOB)
        self.network.attempts[0].on_cancel = ConnectCancelledError()
        connecting.cancel()
        self.failureResultOf(connecting, ConnectCancelledError)
        self.assertEqual(self.tried, [ALICE])
        self.check_over()

    def test_forgotten(self) -> None:
        """When all is dropped, as it is at the end of a program, whoever waits is told nothing."""
        told: list[object] = []
        self.connecting.addBoth(told.append)
        del self.network, self.clock, self.lookup, self.endpoint, self.connecting
        gc.collect()
        self.assertEqual([], told)

    def test_many(self) -> None:
        """Of a flood of peers only so many are kept."""
        self.found(*(Peer(b"%d" % number) for number in range(MAX_CANDIDATES * 2)))
        for number in range(MAX_CANDIDATES + 1):
            self.network.attempts[number].fail(PeerUnreachableError())
        self.assertEqual(len(self.tried), MAX_CANDIDATES + 1)
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)


class Greeter(Protocol):
    """Says hello, and notes what it hears."""

    transport: Any

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()
        self.over: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.over.callback(None)


class LocalTests(TestCase):
    """Over a network of this process."""

    async def test_both(self) -> None:
        """A client finds the server of its topic, and they talk; a peer can also be connected to by its key."""
        from twisted.internet import reactor

        hub = LocalHub(reactor)
        self.addCleanup(hub.close)
        here, there = hub.network(), hub.network()
        port: Any = await TopicServerEndpoint(here, ROOM).listen(Factory.forProtocol(Greeter))
        for endpoint in (TopicClientEndpoint(there, ROOM), PeerClientEndpoint(there, port.getHost().peer)):
            greeter: Any = await endpoint.connect(Factory.forProtocol(Greeter))
            self.assertEqual(await greeter.heard, b"hello")
            greeter.transport.loseConnection()
            await greeter.over
        await port.stopListening()
        with self.assertRaises(ConnectTimeoutError):
            await TopicClientEndpoint(there, ROOM, timeout=0.01).connect(Factory.forProtocol(Greeter))
