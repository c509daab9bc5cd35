"""Tests for ``spaceswarm_proxy.proxy.client_link`` and ``stream``: connections to peers through a proxy."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    ConnectTimeoutError,
    LimitError,
    LinkLostError,
    PeerUnreachableError,
    StreamAbortedError,
    StreamResetError,
    StreamStalledError,
    UnknownPeerError,
)
from spaceswarm_proxy.interfaces import Peer
from spaceswarm_proxy.proxy.client import CLIENT_LIMITS, REPLY_MARGIN
from spaceswarm_proxy.proxy.client_link import CLOSE_GRACE
from spaceswarm_proxy.proxy.limits import Limits
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.client_world import OURS, PEER, WINDOW, ClientWorld
from tests.proxy.world import Peers

CONNECT, OPEN, CLOSE, DATA, ERROR = (
    EventType.CONNECT,
    EventType.ON_STREAM_OPEN,
    EventType.ON_STREAM_CLOSE,
    EventType.ON_STREAM_DATA,
    EventType.ON_STREAM_ERROR,
)
LONG = CLIENT_LIMITS.connect_timeout + REPLY_MARGIN


class LinkTestCase(SynchronousTestCase):
    """With a link to a server that the test plays, and nothing of it left at the end."""

    ready: dict = OURS
    limits = CLIENT_LIMITS

    def setUp(self) -> None:
        self.world = ClientWorld(self.ready, limits=self.limits)
        self.server = self.world.server
        self.link = self.world.network.link

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [None])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        mux = self.link.mux
        self.assertEqual((mux.streams, mux.queued, mux.unread), ({}, 0, 0))
        self.assertEqual((len(self.link._connects), self.link._requests), (0, {}))

    def request(self, index: int = -1) -> int:
        return self.server.events(CONNECT)[index].request

    def failed(self, results: list, kind: type[Exception]) -> Exception:
        self.assertEqual([type(each) for each in results], [kind])
        return results[0]

    def ends(self) -> list[int]:
        """What the server got of stream 0's ends: the types of the events, the end of data as DATA."""
        self.world.settle()
        kinds = (DATA, CLOSE, ERROR)
        return [frame.type for frame in self.server.frames if isinstance(frame, Event) and frame.type in kinds]

    def say(self, *events: Any) -> None:
        self.server.send(*events)
        self.world.settle()


class ConnectTests(LinkTestCase):
    """CONNECT, and what answers it."""

    def test_opened(self) -> None:
        """CONNECT has the peer's id and a request; OPEN with that request is the connection."""
        results, peers = self.world.connect()
        sent = self.server.events(CONNECT)[0]
        self.assertEqual(sent.peer, PEER.id)
        self.server.open(4, sent.request)
        self.world.settle()
        self.assertEqual(results, peers.built)
        address = results[0].transport.getPeer()
        self.assertEqual((address, address.peer, address.initiator), (results[0].address, PEER, True))
        self.assertEqual(results[0].transport.getHost().public_key, b"k" * 32)

    def test_out_of_order(self) -> None:
        """Each OPEN is the answer to its own request, in whatever order they come."""
        other = Peer.keyed(b"o" * 32)
        first, _ = self.world.connect()
        second, _ = self.world.connect(other)
        self.server.open(0, self.request(1), peer=other.id)
        self.server.open(1, self.request(0))
        self.world.settle()
        self.assertEqual([each[0].address.peer for each in (first, second)], [PEER, other])

    def test_refused(self) -> None:
        """A reply is the typed failure; nothing was built."""
        for code, text, kind in (
            ("unknown-peer", b"who?", UnknownPeerError),
            ("unreachable", b"gone", PeerUnreachableError),
            ("limit", b"max_streams=512", LimitError),
            (None, None, PeerUnreachableError),
        ):
            results, peers = self.world.connect()
            self.server.reply(self.request(), code=code, data=text)
            self.world.settle()
            self.failed(results, kind)
            self.assertEqual(peers.built, [])

    def test_unknown_code(self) -> None:
        """A code that we do not know is an error all the same, with its text; bad UTF-8 is replaced."""
        results, _ = self.world.connect()
        self.server.reply(self.request(), code="new-fangled", data=b"a\xff")
        self.world.settle()
        self.assertEqual(str(results[0]), "new-fangled: a\N{REPLACEMENT CHARACTER}")

    def test_no_answer(self) -> None:
        """Without an answer in time it fails; an OPEN that comes then is reset."""
        results, peers = self.world.connect()
        for _ in range(int(LONG)):
            self.server.send(b"\0")
            self.world.pass_time(1)
        self.failed(results, ConnectTimeoutError)
        self.server.open(0, self.request())
        self.world.settle()
        self.assertEqual(peers.built, [])
        self.assertEqual(self.ends(), [ERROR])

    def test_cancelled(self) -> None:
        """Cancelled while under way, it fails at once; the connection that comes all the same is reset."""
        peers = Peers()
        attempt = self.world.network.connect(PEER, peers)
        results = self.world.outcome(attempt)
        attempt.cancel()
        self.failed(results, ConnectCancelledError)
        self.world.settle()
        self.server.open(0, self.request())
        self.world.settle()
        self.assertEqual((peers.built, self.ends()), ([], [ERROR]))

    def test_factory_without_a_protocol(self) -> None:
        """A factory that builds nothing, or raises, fails the connection, and the stream is reset."""

        class Failing(Peers):
            def buildProtocol(self, address: Any) -> Any:
                raise ZeroDivisionError

        refusing = Peers()
        refusing.refuse = True
        for factory, kind in ((refusing, ConnectCancelledError), (Failing(), ZeroDivisionError)):
            results = self.world.outcome(self.world.network.connect(PEER, factory))
            self.world.settle()
            self.server.open(self.request(), self.request())
            self.world.settle()
            self.failed(results, kind)
        self.assertEqual(self.ends(), [ERROR, ERROR])
        self.assertEqual(self.world.told, [None])

    def test_over_at_once(self) -> None:
        """A stream that is reset before anyone saw it is a failed connection; one that is closed was one."""
        results, peers = self.world.connect()
        self.server.open(0, self.request())
        self.server.error(0, b"no such luck", "reset")
        self.world.settle()
        self.assertEqual(str(self.failed(results, PeerUnreachableError)), "no such luck")
        results, peers = self.world.connect()
        self.server.open(1, self.request())
        self.server.data(1, b"brief")
        self.server.close(1)
        self.world.settle()
        self.assertEqual((results[0].received, results[0].read_ended), (b"brief", True))
        self.assertTrue(results[0].reason.check(ConnectionDone))


class StreamTests(LinkTestCase):
    """What goes over a stream, and its end."""

    def setUp(self) -> None:
        super().setUp()
        self.protocol = self.world.opened()
        self.transport = self.protocol.transport

    def test_bytes(self) -> None:
        """Bytes go both ways, in order."""
        self.transport.write(b"one ")
        self.transport.writeSequence([b"two ", b"three"])
        self.server.data(0, b"four ")
        self.server.data(0, b"five")
        self.world.settle()
        self.assertEqual(self.server.received(0), b"one two three")
        self.assertEqual(self.protocol.received, b"four five")

    def test_their_end(self) -> None:
        """Data without data is the end of theirs; ours goes on."""
        self.server.end(0)
        self.world.settle()
        self.assertTrue(self.protocol.read_ended)
        self.assertIsNone(self.protocol.reason)
        self.transport.write(b"and yet")
        self.world.settle()
        self.assertEqual(self.server.received(0), b"and yet")

    def test_our_end(self) -> None:
        """``loseWriteConnection`` sends the end of data; theirs goes on; when both have ended, CLOSE."""
        self.transport.loseWriteConnection()
        self.assertEqual(self.ends(), [DATA])
        self.server.data(0, b"go on")
        self.server.end(0)
        self.world.settle()
        self.assertEqual(self.protocol.received, b"go on")
        self.assertEqual(self.ends(), [DATA, CLOSE])
        self.assertTrue(self.protocol.reason.check(ConnectionDone))

    def test_close(self) -> None:
        """``loseConnection`` sends what is written, then CLOSE, and is done."""
        self.transport.write(b"last words")
        self.transport.loseConnection()
        self.assertEqual((self.ends(), self.server.received(0)), ([CLOSE], b"last words"))
        self.assertTrue(self.protocol.reason.check(ConnectionDone))

    def test_their_close(self) -> None:
        """What came before CLOSE is delivered before the end, also to who reads late."""
        self.transport.pauseProducing()
        self.server.data(0, b"before")
        self.server.close(0)
        self.world.settle()
        self.assertIsNone(self.protocol.reason)
        self.transport.resumeProducing()
        self.world.settle()
        self.assertEqual((self.protocol.received, self.protocol.read_ended), (b"before", True))
        self.assertTrue(self.protocol.reason.check(ConnectionDone))

    def test_abort(self) -> None:
        """``abortConnection`` sends ERROR with our code."""
        self.transport.abortConnection()
        self.assertEqual(self.ends(), [ERROR])
        self.assertEqual(self.server.events(ERROR)[0].code, "aborted")
        self.assertTrue(self.protocol.reason.check(StreamAbortedError))

    def test_their_error(self) -> None:
        """ERROR ends the stream with the error that its code says."""
        self.server.error(0, b"too slow", "stalled")
        self.world.settle()
        self.assertTrue(self.protocol.reason.check(StreamStalledError))
        self.assertEqual(self.ends(), [])

    def test_link_lost(self) -> None:
        """A stream whose link is lost ends with ``LinkLostError``."""
        self.world.cut()
        self.assertTrue(self.protocol.reason.check(LinkLostError))
        self.transport.write(b"into the void")
        self.transport.loseConnection()

    def test_number_used_twice(self) -> None:
        """A stream's number that is opened while it is open breaks the protocol."""
        self.server.open(0)
        self.world.settle()
        self.assertEqual(str(self.world.told[1]), "stream-id-reused: 0")

    def test_protocols_that_raise(self) -> None:
        """What a protocol raises ends its stream and no other."""
        for name in ("connectionMade", "dataReceived", "connectionLost", "readConnectionLost"):
            factory = Peers()
            protocol = type("Bad", (Protocol,), {name: lambda self, *_: 1 / 0})()
            factory.buildProtocol = lambda address, protocol=protocol: protocol
            self.world.network.connect(PEER, factory)
            self.world.settle()
            stream = self.request()
            self.server.open(stream, stream)
            self.world.settle()
            self.server.data(stream, b"data")
            self.server.close(stream)
            self.world.settle()
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.assertEqual(list(self.link.mux.streams), [0])
        self.assertEqual(self.world.told, [None])

    def test_window(self) -> None:
        """Credit goes back when the protocol has used what came, in halves of a window; a pause holds it."""
        self.transport.pauseProducing()
        self.server.data(0, bytes(WINDOW // 2))
        self.world.settle()
        self.assertEqual(self.server.events(EventType.WINDOW), [])
        self.transport.resumeProducing()
        self.world.settle()
        self.assertEqual([event.window for event in self.server.events(EventType.WINDOW)], [WINDOW // 2])

    def test_producer_waits_for_credit(self) -> None:
        """A producer is stopped when the server's window is used up, and goes on when it grants more."""
        orders = []

        class Producer:
            def pauseProducing(self) -> None:
                orders.append("pause")

            def resumeProducing(self) -> None:
                orders.append("resume")

            def stopProducing(self) -> None:
                orders.append("stop")

        self.transport.registerProducer(Producer(), True)
        self.transport.write(bytes(WINDOW + 100_000))
        self.world.settle()
        self.assertEqual(orders, ["pause"])
        self.assertEqual(len(self.server.received(0)), WINDOW)
        self.say(Event(EventType.WINDOW, stream=0, window=WINDOW))
        self.assertEqual(orders, ["pause", "resume"])
        self.assertEqual(len(self.server.received(0)), WINDOW + 100_000)
        self.world.cut()
        self.assertEqual(orders, ["pause", "resume", "stop"])

    def test_server_that_ignores_the_window(self) -> None:
        """A server that sends more than it may loses the stream, and no other."""
        self.transport.pauseProducing()
        for _ in range(5):
            self.server.data(0, bytes(WINDOW // 4))
        self.world.settle()
        self.assertEqual(self.server.events(ERROR)[0].code, "window-exceeded")
        self.assertEqual(self.world.told, [None])


class JavaScriptTests(LinkTestCase):
    """With a server that says nothing in its READY: it would not survive what it does not know."""

    ready = {}

    def tearDown(self) -> None:
        known = {EventType(number) for number in range(1, 11)} - {ERROR}
        for frame in self.server.frames[1:]:
            if isinstance(frame, Event):
                self.assertIn(frame.type, known)
                plain = Event(frame.type, topic=frame.topic, data=frame.data, peer=frame.peer, stream=frame.stream)
                self.assertEqual(frame, plain)
        super().tearDown()

    def given_up(self) -> None:
        """The stream is ended as such a server can bear it: by the end of data, and CLOSE when none comes back."""
        self.assertEqual(self.ends(), [DATA])
        self.world.pass_time(CLOSE_GRACE + 2)
        self.assertEqual(self.ends(), [DATA, CLOSE])

    def test_in_order(self) -> None:
        """OPENs answer the CONNECTs to that peer in the order in which they were sent."""
        other = Peer.keyed(b"o" * 32)
        results = [self.world.connect(peer)[0] for peer in (PEER, other, PEER)]
        for stream, peer in enumerate((PEER, PEER, other)):
            self.server.open(stream, peer=peer.id)
        self.world.settle()
        for stream, index in enumerate((0, 2, 1)):
            self.server.data(stream, b"%d" % index)
        self.world.settle()
        self.assertEqual([each[0].received for each in results], [b"0", b"1", b"2"])

    def test_never_answered(self) -> None:
        """A CONNECT that was given up and never answered does not take the next one's OPEN."""
        first, _ = self.world.connect()
        self.world.pass_time(LONG)
        self.failed(first, ConnectTimeoutError)
        second, _ = self.world.connect()
        self.server.open(0)
        self.world.settle()
        self.assertEqual(len(second), 1)
        self.server.open(1)  # the first one's answer, very late
        self.world.settle()
        self.given_up()

    def test_failed(self) -> None:
        """OPEN, ERROR and CLOSE in one breath are a failed connection."""
        results, _ = self.world.connect()
        self.server.open(0)
        self.server.error(0, b"ECONNREFUSED")
        self.server.close(0)
        self.world.settle()
        self.assertEqual(str(self.failed(results, PeerUnreachableError)), "ECONNREFUSED")

    def test_failed_slowly(self) -> None:
        """When ERROR comes later, the connection was there, and ends with ``StreamResetError``."""
        protocol = self.world.opened()
        self.server.error(0, b"ECONNREFUSED")
        self.server.close(0)
        self.world.settle()
        self.assertTrue(protocol.reason.check(StreamResetError))

    def test_end_waits_for_close(self) -> None:
        """``loseConnection`` sends the end of data, and CLOSE only when none has come for some time."""
        protocol = self.world.opened()
        protocol.transport.write(b"all")
        protocol.transport.loseConnection()
        self.assertEqual(self.ends(), [DATA])
        self.assertTrue(protocol.reason.check(ConnectionDone))
        self.server.data(0, b"too late")
        self.world.pass_time(CLOSE_GRACE - 1)
        self.assertEqual(self.ends(), [DATA])
        self.world.pass_time(2)
        self.assertEqual(self.ends(), [DATA, CLOSE])
        self.assertEqual(self.link._finishing, {})

    def test_their_close_is_the_end(self) -> None:
        """A CLOSE that comes in time is not answered, and nothing is left to wait for."""
        protocol = self.world.opened()
        protocol.transport.loseConnection()
        self.world.settle()
        self.server.close(0)
        self.world.settle()
        self.world.pass_time(CLOSE_GRACE + 2)
        self.assertEqual(self.ends(), [DATA])
        self.assertEqual(self.link._finishing, {})

    def test_both_ended(self) -> None:
        """When they have ended before us, our end is CLOSE."""
        protocol = self.world.opened()
        self.server.end(0)
        self.world.settle()
        protocol.transport.loseConnection()
        self.assertEqual(self.ends(), [CLOSE])

    def test_abort(self) -> None:
        """``abortConnection`` is an end like any other, as ERROR must not be sent."""
        protocol = self.world.opened()
        protocol.transport.abortConnection()
        self.given_up()
        self.assertTrue(protocol.reason.check(StreamAbortedError))

    def test_uninvited(self) -> None:
        """A stream that nobody asked for is closed."""
        self.server.open(3)
        self.world.settle()
        self.given_up()

    def test_reader_that_stands_still(self) -> None:
        """A stream that is not read stops the link at its bound, and is given up when that lasts too long."""
        protocol, other = self.world.opened(0), self.world.opened(1)
        protocol.transport.pauseProducing()
        self.server.data(0, bytes(WINDOW + 1))
        self.world.settle()
        self.server.data(1, b"held up")
        self.world.settle()
        self.assertEqual(other.received, b"")
        self.world.pass_time(CLIENT_LIMITS.stall_timeout + 2)
        self.assertEqual(other.received, b"held up")
        self.assertTrue(protocol.reason.check(StreamStalledError))
        self.given_up()

    def test_in_flight(self) -> None:
        """What was not answered when the link is lost fails."""
        results, _ = self.world.connect()
        self.world.cut()
        self.failed(results, LinkLostError)

    def test_refusing_factory(self) -> None:
        """A factory that builds nothing has the stream closed."""
        refusing = Peers()
        refusing.refuse = True
        results = self.world.outcome(self.world.network.connect(PEER, refusing))
        self.world.settle()
        self.server.open(0)
        self.world.settle()
        self.failed(results, ConnectCancelledError)
        self.given_up()


class SmallLimitTests(LinkTestCase):
    """A client has limits of its own."""

    limits = Limits(max_streams=1)

    def test_too_many(self) -> None:
        """A stream beyond them is reset by its name, and the connection fails with it."""
        self.world.opened()
        results, _ = self.world.connect()
        self.server.open(1, self.request())
        self.world.settle()
        self.assertEqual(self.failed(results, LimitError).name, "max_streams")
        self.assertEqual(self.server.events(ERROR)[0].code, "limit")
