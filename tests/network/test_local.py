"""A network inside one process."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.errors import (
    ClosedError,
    ConnectCancelledError,
    DuplicateConnectionError,
    FirewallError,
    LimitError,
    PeerUnreachableError,
    StreamAbortedError,
    StreamResetError,
    UnknownPeerError,
)
from spaceswarm_proxy.interfaces import INetwork, Peer
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.topics import topic
from tests.network.conformance import NetworkConformance
from tests.network.support import Collector, Echo, Finder, Recorder, StoppedRecorder, unanswering

ROOM = topic("room")


class LocalConformanceTests(NetworkConformance, TestCase):
    """Local networks keep every promise of a network."""

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        hub = LocalHub()
        return succeed([hub.network() for _ in range(count)])


class LatencyConformanceTests(NetworkConformance, TestCase):
    """So they do when everything takes some time to arrive."""

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        hub = LocalHub(latency=0.001, window=1024 * 1024)
        return succeed([hub.network() for _ in range(count)])


class IdentityConformanceTests(NetworkConformance, TestCase):
    """And so do several identities of one network."""

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        parent = LocalHub().network()
        self.addCleanup(parent.close)
        return succeed([parent.with_identity() for _ in range(count)])


class ClockedTestCase(SynchronousTestCase):
    """Two networks on a clock."""

    latency = 0.0

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = LocalHub(self.clock, latency=self.latency, max_peers_per_topic=3)
        self.one, self.two = self.hub.network(), self.hub.network()
        self.addCleanup(self.nothing_left)

    def nothing_left(self) -> None:
        closed = self.hub.close()
        self.clock.advance(0)
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.hub), 0)

    def peer(self, network: INetwork) -> Peer:
        return Peer.keyed(network.public_key)

    def connected(self, build_far: Any = Recorder) -> tuple[Any, Any]:
        listening, connecting = Collector(build_far), Collector()
        self.successResultOf(self.two.listen(listening))
        connection = self.one.connect(self.peer(self.two), connecting)
        self.clock.advance(self.latency)
        return self.successResultOf(connection), listening.built[0]


class DiscoveryTests(ClockedTestCase):
    """Who is found, and when."""

    def test_interface(self) -> None:
        """It has every method of the interface."""
        verifyObject(INetwork, self.one)

    def test_everything_in_a_later_turn(self) -> None:
        """Nothing is reported from inside ``announce``, ``lookup`` or ``update``."""
        finder = Finder()
        lookup = self.one.lookup(ROOM, finder)
        self.two.announce(ROOM)
        lookup.update()
        self.assertEqual((finder.found, finder.rounds), ([], 0))
        self.clock.advance(0)
        self.assertTrue(finder.knows(self.two))
        self.assertEqual(finder.rounds, 1)

    def test_news_is_no_round(self) -> None:
        """Who is announced later is reported once, without a new round."""
        finder = Finder()
        self.one.lookup(ROOM, finder)
        self.clock.advance(0)
        self.two.announce(ROOM)
        self.clock.advance(0)
        self.assertEqual((finder.found, finder.rounds), ([self.peer(self.two)], 1))

    def test_update_repeats(self) -> None:
        """An update reports again what is known."""
        self.two.announce(ROOM)
        self.clock.advance(0)
        finder = Finder()
        lookup = self.one.lookup(ROOM, finder)
        self.clock.advance(0)
        lookup.update()
        self.clock.advance(0)
        self.assertEqual((finder.found, finder.rounds), ([self.peer(self.two)] * 2, 2))

    def test_announced_twice(self) -> None:
        """Who is announced twice is found once, until both announcements are closed."""
        announcements = [self.two.announce(ROOM) for _ in range(2)]
        self.clock.advance(0)
        for announcement, found in zip(announcements, (1, 0), strict=True):
            announcement.close()
            finder = Finder()
            self.one.lookup(ROOM, finder)
            self.clock.advance(0)
            self.assertEqual(len(finder.found), found)

    def test_closed_before_it_was_reported(self) -> None:
        """Who is gone before the others were told is not reported."""
        hub, finder = LocalHub(self.clock, latency=1), Finder()
        hub.network().lookup(ROOM, finder)
        announcement = hub.network().announce(ROOM)
        self.clock.pump([1, 0.5])
        announcement.close()
        self.clock.advance(1)
        self.assertEqual((finder.found, finder.rounds), ([], 1))
        hub.close()

    def test_update_from_inside(self) -> None:
        """A receiver may ask for another round from inside ``lookup_updated``; ``flushed`` waits for that."""
        finder = Finder()
        lookup = self.one.lookup(ROOM, finder)
        finder.when(lambda: finder.rounds == 1).addCallback(lambda _: lookup.update())
        flushed = lookup.flushed()
        self.clock.advance(0)
        self.successResultOf(flushed)
        self.assertEqual(finder.rounds, 2)

    def test_full_topic(self) -> None:
        """A topic takes so many peers; the next is refused until one leaves."""
        taken = [self.hub.network().announce(ROOM) for _ in range(3)]
        refused = self.one.announce(ROOM)
        waiting = refused.flushed()
        self.clock.advance(0)
        self.failureResultOf(waiting, LimitError)
        self.failureResultOf(refused.flushed(), LimitError)
        taken[0].close()
        refused.update()
        self.clock.advance(0)
        self.successResultOf(refused.flushed())

    def test_nothing_remembered(self) -> None:
        """A topic that nobody is interested in any more takes no memory."""
        entries = [self.one.lookup(ROOM, Finder()), self.two.announce(ROOM)]
        self.clock.advance(0)
        for entry in entries:
            entry.close()
        self.assertEqual(self.hub.board._topics, {})

    def test_same_key(self) -> None:
        """Two networks with one key are one peer: neither finds itself in the other."""
        again = self.hub.network(self.one.key_pair)
        finder = Finder()
        again.lookup(ROOM, finder)
        self.one.announce(ROOM)
        self.clock.advance(0)
        self.assertEqual((finder.found, finder.rounds), ([], 1))

    def test_latency(self) -> None:
        """With latency, news takes its time."""
        hub = LocalHub(self.clock, latency=2)
        finder = Finder()
        hub.network().lookup(ROOM, finder)
        network = hub.network()
        network.announce(ROOM)
        self.clock.pump([2, 1.9])
        self.assertEqual((finder.rounds, finder.found), (1, []))
        self.clock.advance(0.1)
        self.assertTrue(finder.knows(network))
        self.successResultOf(hub.close())


class SuspensionTests(ClockedTestCase):
    """Networks that are suspended."""

    def test_status_and_events(self) -> None:
        """A suspended network is not online, and says so once; so does each identity of it."""
        child = self.one.with_identity()
        told: list[str] = []
        for network in (self.one, child):
            network.events.on("disconnected", lambda error: told.append("disconnected"))
            network.events.on("connected", lambda: told.append("connected"))
        for _ in range(2):
            self.one.suspend()
        self.assertFalse(self.one.status().online or child.status().online)
        self.assertEqual(told, ["disconnected"] * 2)
        for _ in range(2):
            self.one.resume()
        self.assertTrue(self.one.status().online and child.status().online)
        self.assertEqual(told[2:], ["connected"] * 2)

    def test_flushed_waits(self) -> None:
        """What is announced while suspended is flushed when resumed."""
        self.one.suspend()
        waiting = [self.one.announce(ROOM).flushed(), self.one.lookup(ROOM, Finder()).flushed()]
        self.clock.advance(0)
        for deferred in waiting:
            self.assertNoResult(deferred)
        self.one.resume()
        self.clock.advance(0)
        for deferred in waiting:
            self.successResultOf(deferred)

    def test_connect(self) -> None:
        """Streams can be opened neither from nor to a suspended network; those that are open stay."""
        near, far = self.connected(Echo)
        for suspended in (self.one, self.two):
            suspended.suspend()
            attempt = self.one.connect(self.peer(self.two), Collector())
            self.clock.advance(0)
            self.failureResultOf(attempt, PeerUnreachableError)
            suspended.resume()
        near.transport.write(b"still here")
        self.clock.advance(0)
        self.assertEqual(near.received, b"still here")

    def test_closed(self) -> None:
        """A closed network can be neither suspended nor resumed."""
        self.one.close()
        self.failureResultOf(self.one.suspend(), ClosedError)
        self.failureResultOf(self.one.resume(), ClosedError)


class ConnectTests(ClockedTestCase):
    """Opening streams, and why they do not open."""

    def attempt(self, peer: Peer, build: Any = Recorder) -> Deferred[Any]:
        attempt = self.one.connect(peer, Collector(build))
        self.clock.advance(0)
        return attempt

    def test_unknown(self) -> None:
        """A key that nobody has is unknown, and so is an id that says nothing."""
        for peer in (Peer.keyed(bytes(32)), Peer.from_id(b"something else")):
            self.failureResultOf(self.attempt(peer), UnknownPeerError)

    def test_not_listening(self) -> None:
        """A peer that does not listen is unreachable."""
        self.failureResultOf(self.attempt(self.peer(self.two)), PeerUnreachableError)

    def test_refused(self) -> None:
        """A listener that builds no protocol is a firewall; it may give another reason."""
        self.two.listen(Collector(lambda: None))
        self.failureResultOf(self.attempt(self.peer(self.two)), FirewallError)

        def refuse() -> None:
            raise DuplicateConnectionError()

        again = self.hub.network(self.two.key_pair)
        again.listen(Collector(refuse))
        self.failureResultOf(self.attempt(self.peer(again)), DuplicateConnectionError)

    def test_listener_fails(self) -> None:
        """A listener whose factory fails refuses, and it is the listener's log that has the reason."""
        self.two.listen(Collector(lambda: 1 // 0))  # type: ignore[arg-type, return-value]
        self.failureResultOf(self.attempt(self.peer(self.two)), FirewallError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_no_protocol_of_our_own(self) -> None:
        """If our own factory wants no protocol, or fails, so does the attempt; the far end sees a reset."""
        listening = Collector()
        self.two.listen(listening)
        self.failureResultOf(self.attempt(self.peer(self.two), lambda: None), ConnectCancelledError)
        self.failureResultOf(self.attempt(self.peer(self.two), lambda: 1 // 0), ZeroDivisionError)
        self.assertEqual([protocol.lost.type for protocol in listening.built], [StreamResetError] * 2)

    def test_cancelled(self) -> None:
        """A cancelled attempt never reaches the listener."""
        listening = Collector()
        self.two.listen(listening)
        attempt = self.one.connect(self.peer(self.two), Collector())
        attempt.cancel()
        self.clock.advance(0)
        self.failureResultOf(attempt, ConnectCancelledError)
        self.assertEqual(listening.addresses, [])

    def test_newest_of_a_key(self) -> None:
        """Of several networks with one key the newest that listens gets the streams."""
        older, newer = Collector(), Collector()
        self.two.listen(older)
        again = self.hub.network(self.two.key_pair)
        self.successResultOf(self.attempt(self.peer(self.two)))
        again.listen(newer)
        self.successResultOf(self.attempt(self.peer(self.two)))
        again.close()
        self.successResultOf(self.attempt(self.peer(self.two)))
        self.assertEqual((len(older.built), len(newer.built)), (2, 1))

    def test_closed_from_inside(self) -> None:
        """A network may be closed from inside the calls that opening a stream makes."""
        self.two.listen(Collector())

        class Closing(Recorder):
            def connectionMade(closing) -> None:
                super().connectionMade()
                self.one.close()

        protocol = self.successResultOf(self.attempt(self.peer(self.two), Closing))
        self.assertIsInstance(protocol.lost.value, StreamAbortedError)

    def test_window(self) -> None:
        """An end is paused when the other has more than the window unread, and not before."""
        near, far = self.connected(StoppedRecorder)
        near.transport.write(bytes(64 * 1024))
        self.clock.advance(0)
        self.assertFalse(near.transport._full)
        near.transport.write(b"!")
        self.assertTrue(near.transport._full)
        far.transport.resumeProducing()
        self.clock.advance(0)
        self.assertFalse(near.transport._full)


class CloseTests(ClockedTestCase):
    """Nothing is left."""

    def test_close(self) -> None:
        """``close`` waits until the protocols have been told; theirs see an abort, their peers a reset."""
        near, far = self.connected()
        closed = self.one.close()
        self.assertNoResult(closed)
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertEqual((near.lost.type, far.lost.type), (StreamAbortedError, StreamResetError))

    def test_sent_before(self) -> None:
        """What was sent, and the stream closed, before the network was, still arrives."""
        near, far = self.connected()
        near.transport.write(b"last words")
        near.transport.loseConnection()
        self.one.close()
        self.clock.advance(0)
        self.assertEqual((far.received, far.lost.type), (b"last words", ConnectionDone))

    def test_paused_reader(self) -> None:
        """A protocol that never reads on does not hold up the close."""
        near, far = self.connected(StoppedRecorder)
        near.transport.write(b"unread")
        near.transport.loseConnection()
        self.clock.advance(0)
        self.assertIsNone(far.lost)
        closed = self.two.close()
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertEqual(far.lost.type, StreamAbortedError)

    def test_hub(self) -> None:
        """Closing the hub closes its networks and ends the addresses that are announced on it."""
        self.hub.announce_address(ROOM, "192.0.2.1", 80)
        self.assertIsNone(self.successResultOf(self.hub.close()))
        self.assertRaises(ClosedError, self.one.announce, ROOM)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_wait_can_be_cancelled(self) -> None:
        """Who waits for the close may stop waiting; the others are told."""
        self.connected()
        first, second = self.one.close(), self.one.close()
        first.addErrback(lambda _: None)
        first.cancel()
        self.clock.advance(0)
        self.successResultOf(second)


class CloseWithLatencyTests(CloseTests):
    """So it is when things are under way that take their time."""

    latency = 0.5

    def test_sent_before(self) -> None:
        """What is under way to others arrives after the close."""
        near, far = self.connected()
        near.transport.write(b"last words")
        near.transport.loseConnection()
        self.one.close()
        self.clock.advance(0.4)
        self.assertEqual(far.received, b"")
        self.clock.advance(0.1)
        self.assertEqual((far.received, far.lost.type), (b"last words", ConnectionDone))

    def test_close(self) -> None:
        """Our own close does not wait for the others to hear of it."""
        near, far = self.connected()
        closed = self.one.close()
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertEqual((near.lost.type, far.lost), (StreamAbortedError, None))
        self.clock.advance(0.5)
        self.assertEqual(far.lost.type, StreamResetError)

    def test_paused_reader(self) -> None:
        """What is held, or still under way, is lost with the network that it was for."""
        near, far = self.connected(StoppedRecorder)
        near.transport.write(b"unread")
        near.transport.loseConnection()
        self.clock.advance(0)
        closed = self.two.close()
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertEqual(far.lost.type, StreamAbortedError)


class AddressTests(TestCase):
    """TCP services that are announced on a hub."""

    def setUp(self) -> None:
        self.hub = LocalHub()
        self.network = self.hub.network()
        self.addCleanup(self.hub.close)
        self.service = Collector(Echo)
        self.port = reactor.listenTCP(0, self.service, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)
        self.number = self.port.getHost().port

    async def test_found_and_reached(self) -> None:
        """A service is found under its topic by host and port, and ``connect`` dials it."""
        self.hub.announce_address(ROOM, "127.0.0.1", self.number)
        finder, connecting = Finder(), Collector()
        await self.network.lookup(ROOM, finder).flushed()
        await finder.when(lambda: finder.found)
        (peer,) = finder.found
        self.assertEqual((peer, peer.topics), (Peer.at("127.0.0.1", self.number), {ROOM}))
        protocol = await self.network.connect(peer, connecting)
        protocol.transport.write(b"over TCP")
        await protocol.receives(b"over TCP")
        self.assertEqual(connecting.addresses[0].peer, peer)
        await self.network.close()
        self.assertIsNotNone(protocol.lost)
        await self.service.built[0].loses()

    async def test_by_id(self) -> None:
        """The id alone will do to connect."""
        announcement = self.hub.announce_address(ROOM, "127.0.0.1", self.number)
        await announcement.flushed()
        await self.network.connect(Peer.from_id(b"127.0.0.1:%d" % self.number), Collector())

    async def test_not_announced(self) -> None:
        """What is not announced, or no more, is not dialled."""
        peer = Peer.at("127.0.0.1", self.number)
        with self.assertRaises(UnknownPeerError):
            await self.network.connect(peer, Collector())
        await self.hub.announce_address(ROOM, "127.0.0.1", self.number).close()
        with self.assertRaises(UnknownPeerError):
            await self.network.connect(peer, Collector())
        self.assertEqual(self.service.addresses, [])

    async def test_closed_while_dialling(self) -> None:
        """Closing the network ends the dial with ``ClosedError``."""
        address = unanswering(self)
        self.hub.announce_address(ROOM, *address)
        collector = Collector()
        attempt = self.network.connect(Peer.at(*address), collector)
        reached = self.hub.address

        def close_after(peer: Peer) -> Any:
            reactor.callLater(0, self.network.close)  # type: ignore[attr-defined]
            return reached(peer)

        self.patch(self.hub, "address", close_after)
        with self.assertRaises(ClosedError):
            await attempt
        self.assertEqual(collector.built, [])

    def test_wrong_topic(self) -> None:
        """A topic that is not 32 bytes is a ValueError here, too."""
        self.assertRaises(ValueError, self.hub.announce_address, b"short", "127.0.0.1", 1)


class KeyTests(SynchronousTestCase):
    """Who a network is."""

    def test_keys(self) -> None:
        """A network has the key pair that it was given, or a fresh one."""
        hub, key_pair = LocalHub(Clock()), KeyPair.generate()
        self.assertEqual(hub.network(key_pair).public_key, key_pair.public_key)
        self.assertNotEqual(hub.network().public_key, hub.network().public_key)
