"""Streams of networks whose keys are kept elsewhere: :mod:`spaceswarm_proxy.network.sealed`."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.noise import Handshake
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    ConnectError,
    ConnectTimeoutError,
    DuplicateConnectionError,
    FirewallError,
    StreamAbortedError,
    StreamResetError,
)
from spaceswarm_proxy.interfaces import IRecordProtocol, ISealedNetwork, Peer, SealedAddress
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.network.pipe import PipeTransport
from spaceswarm_proxy.network.sealed import TIMEOUT
from spaceswarm_proxy.secret.transport import SecretTransport
from tests.keepers import FakeKeeper, Unsealed
from tests.network.conformance import NetworkConformance
from tests.network.sealed_world import SealedTestCase
from tests.network.support import Collector, Recorder


class SealedConformance(NetworkConformance):
    """Networks on one hub, of which some are sealed."""

    #: Is the network of this number sealed, of the first, the second and so on in turn?
    sealed = (True,)

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        hub = LocalHub()
        return succeed([self._network(hub, self.sealed[number % len(self.sealed)]) for number in range(count)])

    def _network(self, hub: LocalHub, sealed: bool) -> Any:
        if not sealed:
            return hub.network()
        keeper = FakeKeeper()
        return Unsealed(hub.network(keeper), keeper, reactor)


class SealedConformanceTests(SealedConformance, TestCase):
    """To their clients, sealed networks keep every promise of a network."""


class SealedToPlainConformanceTests(SealedConformance, TestCase):
    """So they do with those that are not sealed."""

    sealed = (True, False)


class PlainToSealedConformanceTests(SealedConformance, TestCase):
    """And the other way round."""

    sealed = (False, True)


class OpeningTests(SealedTestCase):
    """Streams that open."""

    def test_text_both_ways(self) -> None:
        """What is written at one end is read at the other."""
        for near, far in (self.connected(), self.connected()):
            near.transport.write(b"hello")
            far.transport.write(b"hello yourself")
            self.turns()
            self.assertEqual((b"hello yourself", b"hello"), (near.received, far.received))

    def test_addresses(self) -> None:
        """Each end knows who the other is, who has opened the stream, and that nobody is between them."""
        near, far = self.connected()
        for end, other, initiator in ((near, self.far, True), (far, self.near, False)):
            address = end.transport.getPeer()
            self.assertEqual((other.public_key, initiator), (address.public_key, address.initiator))
            self.assertTrue(address.end_to_end)
            self.assertIsInstance(end.transport, SecretTransport)

    def test_cipher_text(self) -> None:
        """Nothing that is written can be read on the way."""
        said: list[bytes] = []
        send = PipeTransport._send

        def listened_to(transport: PipeTransport, data: bytes) -> None:
            said.append(data)
            send(transport, data)

        self.patch(PipeTransport, "_send", listened_to)
        near, far = self.connected()
        near.transport.write(b"nobody's business" * 100)
        self.turns()
        self.assertEqual(b"nobody's business" * 100, far.received)
        self.assertGreater(len(b"".join(said)), 1700)
        self.assertNotIn(b"nobody", b"".join(said))

    def test_closed(self) -> None:
        """Streams end with the network of either side."""
        for index in (0, 1):
            near, far = self.connected()
            closed = (self.far, self.near)[index].close()
            self.turns()
            self.successResultOf(closed)
            self.assertIsNotNone(near.lost)
            self.assertIsNotNone(far.lost)
            self.nothing_under_way()
            if not index:
                self.far_keeper, self.far = self.network(self.far_sealed)
                self.peer = Peer.keyed(self.far.public_key)
                self.port = self.successResultOf(self.far.listen(self.listening))


class SealedToPlainOpeningTests(OpeningTests):
    """The same, where only who connects is sealed."""

    far_sealed = False


class PlainToSealedOpeningTests(OpeningTests):
    """The same, where only who listens is sealed."""

    near_sealed = False


class RawTests(SealedTestCase):
    """What a sealed network's own user sees: who carries the streams of the keeper."""

    def test_interface(self) -> None:
        """A local network offers it, under the profile of its hub; so do its identities."""
        for network in (self.near.network, self.hub.network(), self.near.with_identity(FakeKeeper())):
            verifyObject(ISealedNetwork, network)
            self.assertTrue(network.seals)
            self.assertIs(SPACESWARM, network.profile)

    def test_identity(self) -> None:
        """An identity may be one that is kept elsewhere."""
        child = self.hub.network().with_identity(self.near_keeper)
        self.assertEqual((self.near_keeper.public_key, True), (child.public_key, child.is_sealed))

    def test_profile(self) -> None:
        """A hub has the profile that it was given, or named; another name is a ValueError."""
        for given in (HYPERSWARM, "hyperswarm"):
            self.assertIs(HYPERSWARM, LocalHub(self.clock, profile=given).network().profile)
        self.assertRaises(ValueError, LocalHub, self.clock, profile="no such network")

    def test_addresses(self) -> None:
        """Both protocols are given the address of a sealed stream, with what may be known of its keys."""
        connecting, listening = Collector(), Collector()
        self.port.factory = listening
        self.near.network.connect(self.peer, connecting)
        self.turns()
        (near,), (far,) = connecting.addresses, listening.addresses
        for address, end, other in (
            (near, connecting.built[0], self.far),
            (far, listening.built[0], self.near),
        ):
            self.assertIsInstance(address, SealedAddress)
            self.assertEqual((other.public_key, 1), (address.keys.remote_public_key, address.keys.number))
            self.assertTrue(address.end_to_end)
            self.assertIs(address, end.transport.getPeer())
            self.assertIsInstance(end.transport, PipeTransport)
        self.assertEqual(near.keys.hash, far.keys.hash)
        self.assertEqual((True, False), (near.initiator, far.initiator))
        for keeper in self.keepers:
            keeper.handshakes[1].used = True

    def test_bound_to_the_profile(self) -> None:
        """A stream is bound to the name that its hub's profile says."""
        hub = LocalHub(self.clock, profile=HYPERSWARM)
        keeper, listening = FakeKeeper(), Collector()
        sealed = Unsealed(hub.network(keeper), keeper, self.clock, HYPERSWARM)
        sealed.listen(listening)
        attempt = hub.network().connect(Peer.keyed(keeper.public_key), Collector())
        self.turns()
        self.assertEqual(HYPERSWARM.stream_labels[0], self.successResultOf(attempt).transport.label)
        hub.close()
        self.turns()


class FastPathTests(SynchronousTestCase):
    """Networks whose keys are both here."""

    def test_nothing_is_encrypted(self) -> None:
        """No handshake is made between them, and their stream is a pipe; it counts as one that nobody can read."""
        clock = Clock()
        hub = LocalHub(clock)
        self.patch(Handshake, "__init__", lambda *arguments, **options: self.fail("a handshake"))
        near, far = hub.network(), hub.network()
        listening = Collector()
        far.listen(listening)
        attempt = near.connect(Peer.keyed(far.public_key), Collector())
        clock.advance(0)
        for protocol in (self.successResultOf(attempt), listening.built[0]):
            self.assertIsInstance(protocol.transport, PipeTransport)
            self.assertTrue(protocol.transport.getPeer().end_to_end)
        hub.close()
        clock.advance(0)


class RefusalTests(SealedTestCase):
    """Who is not wanted."""

    def test_refused(self) -> None:
        """Whom the listener's factory does not want sees the stream end before it has opened."""
        self.build = lambda: None
        problem = self.failureResultOf(self.connect(), ConnectError).value
        self.assertIn("before it had opened", str(problem))
        self.turns()
        self.assertEqual((1, []), (len(self.listening.addresses), self.connecting.addresses))
        self.nothing_under_way()

    def test_no_protocol_of_our_own(self) -> None:
        """If our own factory wants no protocol, or fails, so does the attempt; the far end sees a reset."""
        for build, kind in ((lambda: None, ConnectCancelledError), (lambda: 1 // 0, ZeroDivisionError)):
            self.connecting = Collector(build)  # type: ignore[arg-type]
            self.failureResultOf(self.connect(), kind)
            self.turns()
            self.nothing_under_way()
            for protocol in self.listening.built:
                self.assertIsInstance(protocol.lost.value, StreamResetError)


@implementer(IRecordProtocol)
class OneRecord(Recorder):
    """Reads one record, and nothing more."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.pauseProducing()  # type: ignore[union-attr]


class SealedToPlainRefusalTests(RefusalTests):
    """The same, where only who connects is sealed."""

    far_sealed = False

    def test_raw(self) -> None:
        """What is sealed has opened by then: all that is seen of a refusal is that the stream ends."""
        self.build = lambda: None
        self.failureResultOf(self.connect(), ConnectError)
        self.assertTrue(self.near_keeper.handshakes[1].used)

    def test_never_heard(self) -> None:
        """Who connects and says nothing is given up after some time, and no factory was asked for a protocol for it."""
        attempt = self.near.network.connect(self.peer, Collector())
        self.turns()
        mute = self.successResultOf(attempt)
        self.near_keeper.handshakes[1].used = True
        self.clock.advance(TIMEOUT - 0.1)
        self.assertIsNone(mute.lost)
        self.clock.advance(0.1)
        self.assertIsInstance(mute.lost.value, StreamResetError)
        self.assertEqual([], self.listening.addresses)
        self.nothing_under_way()

    def test_stopped_meanwhile(self) -> None:
        """Who is heard when the listener has stopped, or is suspended, is turned away."""
        self.hub.latency = 1.0
        for stop, undo in (
            (self.port.stopListening, self.port.startListening),
            (self.far.suspend, self.far.resume),
        ):
            attempt = self.near.connect(self.peer, self.connecting)
            self.clock.advance(1)
            stop()
            self.clock.pump([1, 1])
            self.fails(ConnectError, attempt)
            undo()

    def test_reader_who_has_stopped(self) -> None:
        """A protocol that never reads on does not hold up the close of its network, though its peer is long gone."""
        self.build = OneRecord
        near, far = self.connected()
        near.transport.write(b"one")
        near.transport.write(b"two")
        near.transport.loseConnection()
        self.turns()
        self.assertEqual((b"one", None), (far.received, far.lost))
        closed = self.far.close()
        self.turns()
        self.successResultOf(closed)
        self.assertIsInstance(far.lost.value, StreamAbortedError)


class PlainToSealedRefusalTests(RefusalTests):
    """The same, where only who listens is sealed."""

    near_sealed = False

    def test_raw(self) -> None:
        """Why a sealed network's user refuses a stream is told to who connects; nothing has opened by then."""

        def duplicate() -> None:
            raise DuplicateConnectionError()

        for build, kind in ((lambda: None, FirewallError), (duplicate, DuplicateConnectionError)):
            self.port.factory = Collector(build)  # type: ignore[arg-type]
            self.fails(kind)

    def test_given_up_meanwhile(self) -> None:
        """If the network that connects is closed as the listener is asked, the stream that this is told of is reset."""

        def close() -> Recorder:
            self.near.close()
            return Recorder()

        self.port.factory = listening = Collector(close)
        self.failureResultOf(self.connect(), ClosedError)
        self.assertEqual([], self.connecting.addresses)
        self.turns()
        self.assertIsInstance(listening.built[0].lost.value, StreamResetError)
        self.far_keeper.handshakes[1].used = True

    def test_never_heard(self) -> None:
        """A listener that says nothing is given up after some time; our factory is asked for no protocol for it."""
        self.port.factory = mute = Collector()
        attempt = self.connect()
        self.far_keeper.handshakes[1].used = True
        self.clock.advance(TIMEOUT - 0.1)
        self.assertNoResult(attempt)
        self.clock.advance(0.2)
        self.fails(ConnectTimeoutError, attempt)
        self.assertIsInstance(mute.built[0].lost.value, StreamResetError)


class SealedRawRefusalTests(PlainToSealedRefusalTests):
    """The same, where both are sealed; then it is their clients who see to it that they are heard."""

    near_sealed = True

    def test_never_heard(self) -> None:
        """A stream between two sealed networks is none of ours any more: it stays, whatever goes over it."""
        raw, self.port.factory = Collector(), Collector()
        self.near.network.connect(self.peer, raw)
        self.clock.advance(2 * TIMEOUT)
        self.assertIsNone(raw.built[0].lost)
        for keeper in self.keepers:
            keeper.handshakes[1].used = True
