"""Tests of ``spaceswarm_proxy.swarm.connections``, through a swarm."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.interfaces import IHalfCloseableProtocol, ILoggingContext
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.interfaces import PeerAddress
from tests.swarm.fake import FakeTransport, HalfRecorder, Recorder, RecorderFactory, Scene, keyed

PEER = keyed(1)


class Stubborn(Recorder):
    """A protocol that fails when it is connected, or when it is lost."""

    fails_when = "made"

    def connectionMade(self) -> None:
        super().connectionMade()
        if self.fails_when == "made":
            raise ZeroDivisionError

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self.fails_when == "lost":
            raise ZeroDivisionError


class Fickle(Recorder):
    """A protocol that hangs up as soon as it is connected."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.abortConnection()  # type: ignore[union-attr]


def connected(protocol: type[Recorder] = Recorder) -> tuple[Scene, FakeTransport]:
    factory = RecorderFactory()
    factory.protocol = protocol  # type: ignore[assignment]
    scene = Scene(factory=factory)
    scene.join()
    transport = scene.network.arrive(PEER)
    assert transport is not None
    return scene, transport


class WrapperTests(SynchronousTestCase):
    """The user's protocol does not notice that it is watched."""

    def test_data(self) -> None:
        """It gets the data, and the end."""
        scene, transport = connected()
        transport.deliver(b"a")
        transport.deliver(b"b")
        transport.end()
        (protocol,) = scene.factory.built
        self.assertEqual(protocol.data, b"ab")
        self.assertIsNotNone(protocol.reason)

    def test_data_method_replaced(self) -> None:
        """It may replace its own methods while it is connected."""
        scene, transport = connected()
        other: list[bytes] = []
        transport.deliver(b"a")
        scene.factory.built[0].dataReceived = other.append  # type: ignore[method-assign]
        transport.deliver(b"b")
        self.assertEqual(other, [b"b"])

    def test_half_close(self) -> None:
        """One that knows half-close is told of each half; the network sees of one that doesn't that it doesn't."""
        scene, transport = connected(HalfRecorder)
        half = IHalfCloseableProtocol(transport.protocol)
        half.readConnectionLost()
        half.writeConnectionLost()
        self.assertEqual(scene.factory.built[0].halves, "rw")  # type: ignore[attr-defined]
        _, plain = connected()
        self.assertFalse(IHalfCloseableProtocol.providedBy(plain.protocol))

    def test_log_prefix(self) -> None:
        """In logs it has its own name."""
        _, transport = connected()
        self.assertEqual(ILoggingContext(transport.protocol).logPrefix(), "Recorder")

    def test_fails_when_connected(self) -> None:
        """One that fails at once is logged, and its connection aborted; that is all."""
        scene, transport = connected(Stubborn)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(transport.aborted)
        self.assertEqual(scene.names(), ["connection", "disconnection"])
        self.assertEqual(scene.swarm.connections, ())

    def test_fails_when_lost(self) -> None:
        """One that fails as it is lost is logged; the swarm goes on."""
        scene, transport = connected(Stubborn)
        self.flushLoggedErrors(ZeroDivisionError)
        Stubborn.fails_when = "lost"
        self.addCleanup(setattr, Stubborn, "fails_when", "made")
        transport = scene.network.arrive(keyed(2))
        assert transport is not None
        transport.end()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(scene.names()[-1], "disconnection")

    def test_hangs_up_at_once(self) -> None:
        """One that hangs up in connectionMade is told of as any other, opened and ended."""
        scene, _ = connected(Fickle)
        self.assertEqual(scene.names(), ["connection", "disconnection"])
        self.assertEqual(scene.swarm.stats.closed_by_server, 1)

    def test_end_is_told_after_removal(self) -> None:
        """By the time it hears of the end, the swarm has no connection with the peer any more."""
        scene, transport = connected()
        seen: list[int] = []
        scene.factory.built[0].connectionLost = (  # type: ignore[method-assign]
            lambda reason=connectionDone: seen.append(len(scene.swarm.connections))
        )
        transport.end()
        self.assertEqual(seen, [0])


class PrivateTransport(FakeTransport):
    """One that nobody on the way can read."""

    def __init__(self, address: PeerAddress, slow_to_end: bool = False) -> None:
        super().__init__(replace(address, end_to_end=True), slow_to_end)


class EndToEndTests(SynchronousTestCase):
    """The peer's record says whether somebody on the way could read what goes over the connection."""

    def test_arriving(self) -> None:
        """It says so of a connection that the peer makes, when the user's protocol is connected."""
        for transport, private in ((FakeTransport, False), (PrivateTransport, True)):
            scene = Scene()
            scene.join()
            scene.network.transport = transport
            scene.swarm.events.on(
                "connection", lambda _, info, private=private: self.assertIs(private, info.end_to_end)
            )
            scene.network.arrive(PEER)
            self.assertIs(private, scene.swarm.peers[PEER.id].end_to_end)
            self.assertEqual(1, scene.names().count("connection"))

    def test_made_by_us(self) -> None:
        """Before there was a connection with a peer it says nothing; after one, what was true of the last."""
        scene = Scene()
        scene.swarm.join_peer(PEER)
        info = scene.swarm.peers[PEER.id]
        self.assertIsNone(info.end_to_end)
        scene.network.attempt_to(PEER).open().end()
        self.assertIs(False, info.end_to_end)
        scene.network.transport = PrivateTransport
        for _ in range(60):
            scene.advance(1)
        self.assertIs(False, info.end_to_end)
        scene.network.attempt_to(PEER).open().end()
        self.assertIs(True, info.end_to_end)
