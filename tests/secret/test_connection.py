"""An encrypted connection: :mod:`spaceswarm_proxy.secret.connection`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer, ISSLTransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides
from zope.interface.verify import verifyObject

from spaceswarm_proxy.codec.frames import encode_frame
from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    ConnectError,
    ConnectTimeoutError,
    FrameError,
    HandshakeError,
    ProtocolError,
    StreamAbortedError,
    StreamDamagedError,
    StreamResetError,
    StreamTimeoutError,
)
from spaceswarm_proxy.secret.connection import MAX_CORKED, Settings
from spaceswarm_proxy.secret.opening import only
from tests.crypto.connect_vectors import CLIENT, SERVER, VECTORS
from tests.network.support import Echo, HalfCloseRecorder, Recorder, Source, StoppedRecorder
from tests.secret.ends import LABEL, SETTINGS, Alone, End, Pair, alone, known, unknown
from tests.transport_support import HalfCloseableProtocol, ScriptedProducer, ScriptedProtocol

DONE = Failure(ConnectionDone())
BEGINNINGS = (known, unknown)


class OpeningTests(SynchronousTestCase):
    """Until the remote has been heard."""

    def test_opens(self) -> None:
        """Both protocols are connected, and both openings fire with them, whether there is a handshake to do or not."""
        for make, options in ((known, {}), (unknown, {}), (unknown, {"pattern": "IK"})):
            pair = Pair(make=make, **options).settle()
            for end in (pair.near, pair.far):
                self.assertEqual(([end.protocol], ["made"]), (end.opened, end.protocol.calls))

    def test_not_before_the_remote_is_heard(self) -> None:
        """Keys alone open nothing: the protocol is connected when the remote's header has come."""
        end = Alone(known(True), known(False))
        self.assertEqual(([], []), (end.opened, end.protocol.calls))
        end.exchange()
        self.assertEqual(([end.protocol], ["made"]), (end.opened, end.protocol.calls))

    def test_early(self) -> None:
        """Who asks for it is connected as soon as there are keys; what it writes is kept, and comes in order."""
        for make in BEGINNINGS:
            end = Alone(make(True), make(False), HalfCloseableProtocol(), early=True)
            if make is known:
                self.assertEqual((["made"], []), (end.protocol.calls, end.opened))
                end.transport.write(b"early ")
            else:
                end.protocol.script["connectionMade"] = lambda transport: transport.write(b"early ")
            self.assertEqual([b"early "], end.exchange())
            self.assertEqual([end.protocol], end.opened)

    def test_first_words(self) -> None:
        """What the remote says right after its header is delivered after ``connectionMade``."""
        remote = known(False)
        remote.send(b"hello")
        end = Alone(known(True), remote)
        end.exchange()
        self.assertEqual(["made", b"hello"], end.protocol.calls)

    def test_several_labels(self) -> None:
        """A responder that does not know the label yet keeps what was written, and its producer is stopped."""
        settings = Settings(("one", LABEL))
        end = Alone(known(False, settings), known(True), settings=settings, early=True)
        producer = ScriptedProducer()
        end.transport.write(b"early")
        end.transport.registerProducer(producer, True)
        self.assertEqual((["pause"], b""), (producer.calls, end.carrier.value()))
        self.assertEqual([b"early"], end.exchange())
        self.assertEqual(["pause", "resume"], producer.calls)
        self.assertEqual(LABEL, end.transport.label)

    def test_too_late(self) -> None:
        """A remote that is not heard in time is given up."""
        for make in BEGINNINGS:
            end = Alone(make(False), make(True))
            end.clock.advance(14.9)
            self.assertEqual([], end.opened)
            end.clock.advance(0.1)
            self.assertIsInstance(end.problem, ConnectTimeoutError)
            self.assertEqual((True, []), (end.carrier.aborted, end.clock.getDelayedCalls()))

    def test_no_time_limit(self) -> None:
        """There may be none."""
        end = Alone(known(True), known(False), settings=Settings((LABEL,), opening_timeout=0))
        self.assertEqual([], end.clock.getDelayedCalls())

    def test_too_late_for_early(self) -> None:
        """A protocol that was connected early is told why it is over."""
        end = Alone(known(True), known(False), early=True)
        end.clock.advance(15)
        end.clock.advance(0)
        self.assertIsInstance(end.problem, ConnectTimeoutError)
        self.assertEqual(ConnectTimeoutError, end.protocol.reason.type)

    def test_cancelled(self) -> None:
        """Who no longer wants the connection can say so while it opens."""
        end = Alone(unknown(True), unknown(False))
        end.connection.opened.cancel()
        self.assertIsInstance(end.problem, ConnectCancelledError)
        self.assertEqual((True, []), (end.carrier.aborted, end.clock.getDelayedCalls()))
        end.connection.dataReceived(b"too late")
        end.connection.connectionLost(DONE)

    def test_lost(self) -> None:
        """A carrier that is lost before is an error, and so is one that has ended."""
        for make in BEGINNINGS:
            end = Alone(make(True), make(False))
            end.connection.connectionLost(Failure(ConnectionLost()))
            self.assertIsInstance(end.problem, ConnectError)
            self.assertIsInstance(end.problem.__cause__, ConnectionLost)
            end = Alone(make(True), make(False))
            end.connection.readConnectionLost()
            self.assertIsInstance(end.problem, ConnectError)
            self.assertTrue(end.carrier.aborted)
            self.assertEqual([], end.clock.getDelayedCalls())

    def test_refused_by_the_factory(self) -> None:
        """Without a protocol from the factory, or with an error of it, there is no connection."""
        end = Alone(known(True), known(False))
        end.protocol = None
        end.exchange()
        self.assertIsInstance(end.problem, ConnectCancelledError)
        end = Alone(known(True), known(False))
        end.connection._build = lambda _: [][0]
        end.exchange()
        self.assertIsInstance(end.problem, IndexError)
        self.assertTrue(end.carrier.aborted)

    def test_wrong_key(self) -> None:
        """A remote of another key is cut off, and nothing of it delivered."""
        pair = Pair(accepts=only({CLIENT.public_key})).settle()
        self.assertIsInstance(pair.near.problem, HandshakeError)
        self.assertIsInstance(pair.far.problem, ConnectError)
        self.assertEqual([], pair.near.protocol.calls + pair.far.protocol.calls)
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_another_label(self) -> None:
        """A remote of another network is cut off too."""
        pair = Pair(far_settings=Settings(("another",))).settle()
        self.assertIsInstance(pair.far.problem, HandshakeError)
        self.assertIsInstance(pair.near.problem, ConnectError)

    def test_bad_key(self) -> None:
        """A public key that is none ends it before anything is said."""
        end = Alone(unknown(True, "IK", remote_public_key=bytes(32)), unknown(False, "IK"))
        self.assertIsInstance(end.problem, HandshakeError)
        self.assertEqual(b"", end.carrier.value())

    def test_interfaces(self) -> None:
        """It is what a carrier expects of its protocol and its producer."""
        connection = Pair().near.connection
        for interface in (IProtocol, IHalfCloseableProtocol, IPushProducer):
            verifyObject(interface, connection)


class StreamTests(SynchronousTestCase):
    """What goes over an open connection."""

    def test_both_ways(self) -> None:
        """What one end writes, the other reads."""
        pair = Pair().settle()
        pair.near.transport.write(b"knock ")
        pair.near.transport.writeSequence([b"knock", b"!"])
        pair.far.transport.write(b"who is there?")
        pair.settle()
        self.assertEqual((b"who is there?", b"knock knock!"), (pair.near.protocol.received, pair.far.protocol.received))

    def test_joined(self) -> None:
        """What is written from inside a call goes to the carrier in one piece; what is not, at once."""
        end = alone(protocol=ScriptedProtocol(dataReceived=lambda transport: [transport.write(b"x") for _ in range(9)]))
        pieces: list[Any] = []
        end.carrier.writeSequence = lambda pieces_: pieces.append(list(pieces_))
        end.remote.send(b"go")
        end.connection.dataReceived(b"".join(end.remote.data_to_send()))
        self.assertEqual([9], list(map(len, pieces)))
        end.transport.write(b"y")
        end.transport.write(b"z")
        self.assertEqual([9, 1, 1], list(map(len, pieces)))

    def test_joined_up_to_a_limit(self) -> None:
        """A producer that writes until it is told to stop is told so in time."""
        end = alone(protocol=ScriptedProtocol(dataReceived=lambda transport: Source(transport, bytes(10**7))))
        end.carrier.writeSequence = lambda _: end.connection.pauseProducing()
        end.remote.send(b"go")
        end.connection.dataReceived(b"".join(end.remote.data_to_send()))
        self.assertEqual(MAX_CORKED, end.transport.bytes_written)

    def test_large_writes(self) -> None:
        """A write over the limit becomes several messages, none of them over it."""
        small = Settings((LABEL,), max_message=1000)
        pair = Pair(settings=small).settle()
        blob = bytes(range(256)) * 20
        pair.near.transport.write(blob)
        pair.settle()
        self.assertEqual(blob, pair.far.protocol.received)
        self.assertEqual(len(blob) + 6 * 20, pair.near.transport.raw_bytes_written)

    def test_backpressure(self) -> None:
        """A reader that stops stops its writer, and everything comes when it goes on."""
        for window in (1000, 64 * 1024):
            pair = Pair(far=StoppedRecorder(), window=window).settle()
            source = Source(pair.near.transport, bytes(10**6))
            pair.settle()
            self.assertTrue(source.paused)
            self.assertLess(source.written, window + 2 * Source.PIECE)
            pair.far.transport.resumeProducing()
            for _ in range(40):
                pair.settle()
            self.assertEqual((10**6, True), (len(pair.far.protocol.received), source.finished))

    def test_both_directions_at_once(self) -> None:
        """Each direction has its own backpressure: an echo of much comes back whole."""
        pair = Pair(near=HalfCloseRecorder(), far=Echo(), window=5000).settle()
        blob = bytes(range(256)) * 2000
        Source(pair.near.transport, blob)
        for _ in range(40):
            pair.settle()
        self.assertEqual(blob, bytes(pair.near.protocol.received))

    def test_pull_producer(self) -> None:
        """A pull producer is asked as long as it writes, and not while the carrier is full."""
        end = alone()
        left = [b"1", b"2", b"3"]
        producer = ScriptedProducer(lambda: left and end.transport.write(left.pop(0)))
        end.connection.pauseProducing()
        end.transport.registerProducer(producer, False)
        end.clock.advance(0)
        self.assertEqual([], producer.calls)
        end.connection.resumeProducing()
        end.clock.advance(0)
        self.assertEqual([b"1", b"2", b"3"], end.exchange())
        asked = len(producer.calls)
        end.clock.advance(0)
        self.assertEqual(asked, len(producer.calls))

    def test_pausing(self) -> None:
        """Pausing is passed on to the carrier."""
        end = alone()
        end.transport.pauseProducing()
        self.assertEqual("paused", end.carrier.producerState)
        end.transport.resumeProducing()
        self.assertEqual("producing", end.carrier.producerState)

    @settings(deadline=None, max_examples=25)
    @given(st.sampled_from(BEGINNINGS), st.data())
    def test_damage(self, make: Any, data: st.DataObject) -> None:
        """One byte changed gives one error of ours, and nothing but the beginning of what was sent is delivered."""
        remote = make(True)
        end = Alone(make(False), remote, HalfCloseRecorder(), early=True)
        for message in (b"one", b"two", b"three"):
            remote.send(message)
        said, position = 0, data.draw(st.integers(0, 250))
        for _ in range(4):
            stream = bytearray(b"".join(remote.data_to_send()))
            if said <= position < said + len(stream):
                stream[position - said] ^= data.draw(st.integers(1, 255))
            said += len(stream)
            end.connection.dataReceived(bytes(stream))
            end.clock.advance(0)
            try:
                remote.receive(end.carrier.value())
            except ProtocolError:
                break  # the remote has noticed it first
            end.carrier.clear()
        damaged = position < said
        self.assertTrue(b"onetwothree".startswith(end.protocol.received))
        self.assertEqual(damaged, end.protocol.received != b"onetwothree")
        if end.carrier.aborted and end.protocol.made:
            self.assertIsInstance(end.protocol.lost.value, ProtocolError)


class EndTests(SynchronousTestCase):
    """How connections end."""

    def test_malformed(self) -> None:
        """What ends the reference's stream ends ours, after the same messages, and likewise."""
        header = bytes.fromhex(VECTORS["secretStream"]["hyperswarm"]["responderHeader"])
        for case in VECTORS["secretStreamMalformed"]:
            end = End(Clock(), known(False, header=header), HalfCloseableProtocol(), SETTINGS, early=True)
            carrier = Alone(known(False), known(True)).carrier
            carrier.unregisterProducer()
            end.connection.makeConnection(carrier)
            for data in case["input"]:
                if data is None:
                    end.connection.readConnectionLost()
                else:
                    end.connection.dataReceived(bytes.fromhex(data))
            end.connection.clock.advance(0)
            calls = end.protocol.calls
            self.assertEqual("".join(case["delivered"]), end.protocol.received.hex(), case["name"])
            self.assertEqual(case["destroyedWithError"] is not None, "lost" in calls, case["name"])
            self.assertEqual(case["closed"], carrier.aborted, case["name"])
            self.assertEqual(case["ended"], "read lost" in calls, case["name"])

    def test_half_close(self) -> None:
        """Each direction ends by itself; when both have, the connection is over, and nothing is left."""
        pair = Pair().settle()
        pair.near.transport.write(b"question")
        pair.near.transport.loseWriteConnection()
        pair.settle()
        self.assertEqual(["made", b"question", "read lost"], pair.far.protocol.calls)
        pair.far.transport.write(b"answer")
        pair.far.transport.loseWriteConnection()
        pair.settle()
        self.assertEqual(["made", "write lost", b"answer", "read lost", "lost"], pair.near.protocol.calls)
        self.assertEqual("lost", pair.far.protocol.calls[-1])
        self.assertEqual([ConnectionDone] * 2, [end.protocol.reason.type for end in (pair.near, pair.far)])
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_half_close_waits(self) -> None:
        """The end comes after what was written, and when the producer is done."""
        pair = Pair(far=HalfCloseRecorder(), window=2000).settle()
        Source(pair.near.transport, bytes(100_000))
        pair.near.transport.loseWriteConnection()
        for _ in range(20):
            pair.settle()
        self.assertEqual((100_000, True), (len(pair.far.protocol.received), pair.far.protocol.read_lost))

    def test_lose_connection(self) -> None:
        """A protocol without half-close ends when its remote does, after all that was written."""
        pair = Pair(Recorder(), Recorder()).settle()
        pair.near.transport.write(b"last words")
        pair.near.transport.loseConnection()
        pair.settle()
        self.assertEqual((b"last words", True), (pair.far.protocol.received, pair.far.protocol.clean))
        self.assertTrue(pair.near.protocol.clean)
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_nothing_after_the_end(self) -> None:
        """What comes in after ``loseConnection`` is not even decrypted."""
        end = alone()
        end.transport.loseConnection()
        end.connection.dataReceived(b"\xff" * 100)
        end.connection.message_received(b"\xff" * 100)
        self.assertEqual((["made"], True), (end.protocol.calls, end.carrier.disconnecting))

    def test_cannot_half_close(self) -> None:
        """On a carrier that can only end as a whole, as TLS, it ends when the remote is done too."""
        end = alone()
        alsoProvides(end.carrier, ISSLTransport)
        end.transport.loseWriteConnection()
        end.clock.advance(0)
        self.assertEqual((False, ["made", "write lost"]), (end.carrier.half_closed, end.protocol.calls))
        end.connection.readConnectionLost()
        self.assertTrue(end.carrier.disconnecting)

    def test_abort(self) -> None:
        """An abort is the carrier's, at once; the remote sees a reset."""
        pair = Pair().settle()
        pair.near.transport.write(b"lost")
        pair.near.transport.abortConnection()
        pair.settle()
        self.assertEqual(
            (StreamAbortedError, StreamResetError), (pair.near.protocol.reason.type, pair.far.protocol.reason.type)
        )
        self.assertEqual(b"", pair.far.protocol.received)
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_lost(self) -> None:
        """The reason why the carrier was lost is the user's, in good order or not; in good order all is read first."""
        end = alone()
        end.transport.pauseProducing()
        end.remote.send(b"held")
        end.exchange()
        end.connection.connectionLost(DONE)
        self.assertEqual(["made"], end.protocol.calls)
        end.transport.resumeProducing()
        end.clock.advance(0)
        self.assertEqual(["made", b"held", "lost"], end.protocol.calls)
        end = alone()
        end.connection.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(ConnectionLost, end.protocol.reason.type)

    def test_inside_a_frame(self) -> None:
        """An end inside a frame is an end like any other; that frame is lost."""
        end = alone()
        end.remote.send(b"whole")
        end.remote.send(b"half")
        end.connection.dataReceived(b"".join(end.remote.data_to_send())[:-1])
        end.connection.readConnectionLost()
        self.assertEqual(["made", b"whole", "read lost"], end.protocol.calls)

    def test_damage(self) -> None:
        """Damage ends the connection with its error, after what came before it, and cuts the remote off."""
        for frame, kind in ((bytes(20), StreamDamagedError), (bytes(3), StreamDamagedError)):
            end = alone()
            end.remote.send(b"good")
            end.connection.dataReceived(b"".join(end.remote.data_to_send()) + encode_frame(frame))
            end.clock.advance(0)
            self.assertEqual(["made", b"good", "lost"], end.protocol.calls)
            self.assertEqual((kind, True), (end.protocol.reason.type, end.carrier.aborted))

    def test_too_long(self) -> None:
        """A message over the limit ends it before it is held."""
        end = alone(settings=Settings((LABEL,), max_message=1000))
        end.connection.dataReceived(b"\xfa\x03\x00")  # 1018
        end.clock.advance(0)
        self.assertEqual((FrameError, True), (end.protocol.reason.type, end.carrier.aborted))

    def test_failing_protocol(self) -> None:
        """A protocol that raises loses its own connection."""
        end = alone(protocol=ScriptedProtocol(dataReceived=lambda _: [][0]))
        end.remote.send(b"good")
        end.exchange()
        end.clock.advance(0)
        self.assertEqual((StreamAbortedError, True), (end.protocol.reason.type, end.carrier.aborted))
        self.assertEqual(1, len(self.flushLoggedErrors(IndexError)))


class LiarTests(SynchronousTestCase):
    """Remotes that do not want a connection."""

    @settings(deadline=None, max_examples=60)
    @given(st.sampled_from(BEGINNINGS), st.booleans(), st.lists(st.binary(max_size=80), max_size=4), st.booleans())
    def test_anything(self, make: Any, initiator: bool, pieces: list[bytes], framed: bool) -> None:
        """Whatever comes, nothing is raised or delivered, and nobody is thought to have been heard."""
        end = Alone(make(initiator), make(not initiator))
        for piece in pieces:
            end.connection.dataReceived(encode_frame(piece) if framed else piece)
            end.connection.message_received(piece)
        self.assertEqual([], end.protocol.calls)
        if end.opened:
            self.assertIsInstance(end.problem, HandshakeError)
            self.assertTrue(end.carrier.aborted)

    def test_endless_fragments(self) -> None:
        """A message that never ends is held up to the limit, in small pieces as in large ones, and no further."""
        end = alone(settings=Settings((LABEL,), max_message=5000))
        end.connection.dataReceived((5000 + 17).to_bytes(3, "little"))
        for _ in range(5000 + 16):
            end.connection.dataReceived(b"x")
        self.assertFalse(end.carrier.aborted)
        end.connection.dataReceived(b"x")
        end.clock.advance(0)
        self.assertEqual((["made", "lost"], True), (end.protocol.calls, end.carrier.aborted))

    def test_many_keep_alives(self) -> None:
        """Empty messages are not answered, delivered or kept, however many come."""
        end = alone()
        for _ in range(1000):
            end.remote.send(b"")
        self.assertEqual(([], ["made"]), (end.exchange(), end.protocol.calls))

    def test_replayed_opening(self) -> None:
        """A first message of IK that somebody has recorded gets an answer, but does not open anything."""
        first = unknown(True, "IK")
        first.start()
        recorded = b"".join(first.data_to_send())
        end = Alone(unknown(False, "IK", ephemeral=None), known(True))
        end.connection.dataReceived(recorded)
        end.clock.advance(15)
        self.assertEqual([], end.protocol.calls)
        self.assertIsInstance(end.problem, ConnectTimeoutError)


class TimeTests(SynchronousTestCase):
    """Keep-alives and silence."""

    def test_off(self) -> None:
        """By default there is neither, and no timer for it."""
        pair = Pair().settle()
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_keep_alive(self) -> None:
        """Who has written nothing for so long sends an empty message, of which nobody is told."""
        pair = Pair(settings=Settings((LABEL,), keep_alive=5), far_settings=SETTINGS).settle()
        pair.wait(4)
        pair.near.transport.write(b"x")
        pair.wait(4.75)
        self.assertEqual(21, pair.near.transport.raw_bytes_written)
        pair.wait(11)
        self.assertEqual(21 + 3 * 20, pair.near.transport.raw_bytes_written)
        self.assertEqual((["made", b"x"], 18 + 3 * 17), (pair.far.protocol.calls, pair.far.transport.raw_bytes_read))
        self.assertEqual((1, 1), (pair.near.transport.bytes_written, pair.far.transport.bytes_read))

    def test_one_timer(self) -> None:
        """However much is written and read, there is one timer, and it is not moved each time."""
        pair = Pair(settings=Settings((LABEL,), keep_alive=5, timeout=20)).settle()
        (before,) = (call for call in pair.clock.getDelayedCalls() if call is pair.near.connection._timer._call)
        for _ in range(10):
            pair.near.transport.write(b"x")
            pair.far.transport.write(b"x")
        pair.settle()
        self.assertEqual(2, len(pair.clock.getDelayedCalls()))
        self.assertIs(before, pair.near.connection._timer._call)

    def test_no_keep_alive_when_blocked(self) -> None:
        """Where nothing can be written, nothing is heaped up."""
        end = alone(settings=Settings((LABEL,), keep_alive=5))
        end.connection.pauseProducing()
        for _ in range(10):
            end.clock.advance(5)
        self.assertEqual(b"", end.carrier.value())
        end.connection.resumeProducing()
        end.clock.advance(5)
        self.assertEqual(20, len(end.carrier.value()))

    def test_no_keep_alive_after_the_end(self) -> None:
        """Our direction having ended, there are no more of them."""
        end = alone(settings=Settings((LABEL,), keep_alive=5))
        end.transport.loseWriteConnection()
        end.clock.advance(5)
        end.transport.send_keep_alive()
        self.assertEqual((b"", []), (end.carrier.value(), end.clock.getDelayedCalls()))

    def test_by_hand(self) -> None:
        """A keep-alive can be sent at any time."""
        end = alone()
        end.transport.send_keep_alive()
        self.assertEqual([b""], end.exchange())

    def test_silence(self) -> None:
        """A remote that says nothing for so long is given up; a keep-alive is something."""
        pair = Pair(settings=Settings((LABEL,), timeout=12), far_settings=Settings((LABEL,), keep_alive=5)).settle()
        pair.wait(30)
        self.assertEqual(["made"], pair.near.protocol.calls)
        pair.far.transport.set_keep_alive(0)
        pair.wait(15)
        self.assertEqual(StreamTimeoutError, pair.near.protocol.reason.type)
        self.assertEqual(StreamResetError, pair.far.protocol.reason.type)
        self.assertEqual([], pair.clock.getDelayedCalls())

    def test_silence_while_paused(self) -> None:
        """Who does not listen gives nobody up for being silent."""
        end = alone(settings=Settings((LABEL,), timeout=10))
        end.transport.pauseProducing()
        end.clock.advance(100)
        end.transport.resumeProducing()
        end.clock.advance(9)
        self.assertEqual(["made"], end.protocol.calls)
        end.clock.advance(1)
        end.clock.advance(0)
        self.assertEqual(StreamTimeoutError, end.protocol.reason.type)

    def test_set_later(self) -> None:
        """Both can be set on the way, and what is sooner counts."""
        end = alone()
        end.transport.set_timeout(60)
        end.transport.set_keep_alive(5)
        end.clock.advance(5)
        self.assertEqual([b""], end.exchange())
        end.transport.set_keep_alive(0)
        end.transport.set_timeout(0)
        self.assertEqual([], end.clock.getDelayedCalls())


class OrderTests(SynchronousTestCase):
    """What is easily got wrong when things happen inside one another."""

    def test_lose_connection_when_made(self) -> None:
        """A protocol may end it from inside ``connectionMade``."""
        pair = Pair(near=ScriptedProtocol(connectionMade=lambda transport: transport.loseConnection())).settle()
        self.assertEqual(["made", "lost"], pair.near.protocol.calls)
        self.assertEqual(["made", "read lost", "lost"], pair.far.protocol.calls)

    def test_abort_when_made(self) -> None:
        """Or abort it."""
        pair = Pair(near=ScriptedProtocol(connectionMade=lambda transport: transport.abortConnection())).settle()
        self.assertEqual(["made", "lost"], pair.near.protocol.calls)
        self.assertEqual(StreamResetError, pair.far.protocol.reason.type)

    def test_cancel_when_opened(self) -> None:
        """Once it has fired, the opening can't be cancelled."""
        pair = Pair().settle()
        opened: Deferred[Any] = pair.near.connection.opened
        opened.cancel()
        pair.near.transport.write(b"still here")
        pair.settle()
        self.assertEqual(b"still here", pair.far.protocol.received)

    def test_over_another(self) -> None:
        """The carrier may be an encrypted connection itself."""
        outer = Pair().settle()
        inner = [End(outer.clock, unknown(side), HalfCloseableProtocol(), SETTINGS) for side in (True, False)]
        for carrier, end in zip((outer.near, outer.far), inner, strict=True):
            carrier.protocol.dataReceived = end.connection.dataReceived
            end.connection.makeConnection(carrier.transport)
        outer.settle()
        inner[0].transport.write(b"twice")
        outer.settle()
        self.assertEqual(b"twice", inner[1].protocol.received)
        self.assertEqual(SERVER.public_key, inner[0].transport.remote_public_key)
