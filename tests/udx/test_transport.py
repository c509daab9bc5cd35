"""Tests of spaceswarm_proxy.udx.transport."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.protocols.basic import FileSender
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.errors import ClosedError, StreamAbortedError, StreamResetError, ValueTooLargeError
from spaceswarm_proxy.interfaces import IMessageTransport
from spaceswarm_proxy.network import pipe
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.udx.stream import HIGH_WATER, LINGER, LOW_WATER, RECEIVE_WINDOW
from tests.network.stream_conformance import StreamConformance
from tests.network.support import Echo, HalfCloseRecorder, Recorder, Source, StoppedRecorder
from tests.udx.shell_support import UDXPipes, UDXTestCase

MEBI = 1 << 20
#: A window counts packets, and one more may come into the smallest.
LARGEST_PACKET = 2048


class ConformanceTests(StreamConformance, TestCase):
    """Streams over UDX keep every promise of a network's, in a real reactor."""

    backpressure_limit = RECEIVE_WINDOW + HIGH_WATER + LARGEST_PACKET + Source.PIECE

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        pipes = UDXPipes(reactor)
        self.addCleanup(pipes.close)
        self.patch(pipe, "pipe", pipes.pipe)
        hub = LocalHub(window=RECEIVE_WINDOW)
        return succeed([hub.network() for _ in range(count)])


class StreamTests(UDXTestCase):
    """Data, and how it ends."""

    def test_there_and_back(self) -> None:
        """What one end writes arrives at the other, and the answer at the first."""
        near, far = self.connect(far=Echo)
        near.transport.write(b"one")
        near.transport.writeSequence([b"two", b"three"])
        near.transport.writeSequence([b"f", bytes(9000)])
        near.transport.writeSequence([])
        self.pump()
        whole = b"onetwothreef" + bytes(9000)
        self.assertEqual((far.received, near.received), (whole, whole))
        self.assertEqual((near.transport.bytes_written, near.transport.bytes_read), (len(whole), len(whole)))

    def test_one_turn(self) -> None:
        """All that is written in a turn arrives together."""
        near, far = self.connect()
        calls: list[bytes] = []
        far.dataReceived = calls.append
        for number in range(10):
            near.transport.write(b"%d" % number)
        self.assertEqual(calls, [])
        self.pump()
        self.assertEqual(calls, [b"0123456789"])

    def test_addresses(self) -> None:
        """Each end says whom it is for, and whom it talks to."""
        near, far = self.connect()
        self.assertEqual((near.transport.getHost(), near.transport.getPeer()), ("near", "far"))
        self.assertEqual((far.transport.getHost(), far.transport.getPeer()), ("far", "near"))

    def test_half_close(self) -> None:
        """Each direction ends by itself; when both have, both ends are through, and nothing is left."""
        near, far = self.connect()
        near.transport.write(b"question")
        near.transport.loseWriteConnection()
        self.pump()
        self.assertEqual((far.received, far.read_lost, near.write_lost), (b"question", True, True))
        far.transport.write(b"answer")
        far.transport.loseWriteConnection()
        self.pump()
        self.assertEqual((near.received, near.read_lost), (b"answer", True))
        self.assertTrue(near.clean and far.clean)
        self.assertEqual([len(end.runner.core) for end in (self.pipes.near, self.pipes.far)], [0, 0])

    def test_lose_connection(self) -> None:
        """What was written before is still sent; both ends see an end in good order."""
        near, far = self.connect(far=Recorder)
        data = bytes(range(256)) * 1000
        near.transport.write(data)
        near.transport.loseConnection()
        self.elapse_until(lambda: near.lost and far.lost)
        self.assertEqual((far.received, near.clean, far.clean), (data, True, True))

    def test_lose_connection_while_the_remote_goes_on(self) -> None:
        """Who has closed is through, although the remote never ends; that is told it after a while."""
        near, far = self.connect(far=HalfCloseRecorder)
        near.transport.loseConnection()
        self.pump()
        self.assertTrue(near.clean and far.read_lost)
        far.transport.write(b"to nobody")
        self.reactor.elapse(LINGER + 1)
        self.assertIsInstance(far.lost.value, StreamResetError)

    def test_abort(self) -> None:
        """It is over at once at both ends, and what was under way is lost."""
        near, far = self.connect()
        near.transport.write(b"lost")
        near.transport.abortConnection()
        self.pump()
        self.assertEqual((far.received, near.lost.type, far.lost.type), (b"", StreamAbortedError, StreamResetError))

    def test_protocol_that_fails(self) -> None:
        """What a protocol raises ends its own stream, and no other."""

        class Failing(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError("a fault of the user's")

        near, far = self.connect(far=Failing)
        other_near, other_far = self.connect()
        for end in (near, other_near):
            end.transport.write(b"hello")
        self.pump()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((far.lost.type, near.lost.type), (StreamAbortedError, StreamResetError))
        self.assertEqual((other_far.received, other_far.lost), (b"hello", None))

    def test_endpoint_closed(self) -> None:
        """When the sockets go the streams go too, and the remote is told."""
        near, far = self.connect()
        self.finish(self.pipes.near.close())
        self.assertIsInstance(near.lost.value, ClosedError)
        self.assertIsInstance(far.lost.value, StreamResetError)
        near.transport.write(b"too late")

    def test_told_when_lost(self) -> None:
        """Whoever wants to know is told when the protocol has been."""
        told: list[tuple[str, bool]] = []
        near, far = self.connect(
            lost=(lambda _: told.append(("near", near.clean)), lambda _: told.append(("far", far.clean)))
        )
        near.transport.loseConnection()
        far.transport.loseConnection()
        self.pump()
        self.assertEqual(sorted(told), [("far", True), ("near", True)])


class BackpressureTests(UDXTestCase):
    """Nobody is sent more than they use."""

    def test_source(self) -> None:
        """A source is stopped when so much waits to be sent, and goes on when less does; all of it arrives."""
        near, far = self.connect()
        source = Source(near.transport, bytes(2 * MEBI))
        self.assertTrue(source.paused)
        self.assertEqual(source.written, HIGH_WATER + Source.PIECE)
        lowest = min(self.lengths(near, lambda: source.finished))
        self.assertLessEqual(lowest, LOW_WATER)
        self.elapse_until(lambda: len(far.received) == 2 * MEBI)

    def lengths(self, near: Any, over: Any) -> list[int]:
        """What waits to be sent, until something is over."""
        seen: list[int] = []
        self.elapse_until(lambda: seen.append(near.transport.stream.sender.queue.length) or over())
        return seen

    def test_reader_that_stops(self) -> None:
        """One that stops from the beginning gets nothing, its writer stops, and goes on when it does."""
        near, far = self.connect(far=StoppedRecorder)
        source = Source(near.transport, bytes(8 * MEBI))
        self.elapse_until(lambda: far.transport.stream.receiver.unread >= RECEIVE_WINDOW - LARGEST_PACKET)
        self.reactor.elapse(5)
        self.assertTrue(source.paused)
        self.assertEqual(far.received, b"")
        self.assertLessEqual(far.transport.stream.receiver.unread, RECEIVE_WINDOW + LARGEST_PACKET)
        self.assertLess(source.written, RECEIVE_WINDOW + HIGH_WATER + MEBI)
        far.transport.resumeProducing()
        self.elapse_until(lambda: len(far.received) == 8 * MEBI)
        self.assertTrue(source.finished)

    def test_neighbour(self) -> None:
        """A reader that stops does not hold up another stream over the same sockets."""
        near, _ = self.connect(far=StoppedRecorder)
        other_near, _ = self.connect(far=Echo)
        Source(near.transport, bytes(8 * MEBI))
        self.reactor.elapse(1)
        other_near.transport.write(b"hello")
        self.pump()
        self.assertEqual(other_near.received, b"hello")
        near.transport.abortConnection()

    def test_small_window(self) -> None:
        """A window much smaller than what is sent slows a stream down, and does not stop it."""
        near, far = self.connect(window=10_000)
        near.transport.write(bytes(200_000))
        self.elapse_until(lambda: len(far.received) == 200_000)

    def test_pull_producer(self) -> None:
        """A file is sent as fast as it is read at the other end."""
        near, far = self.connect()
        content = bytes(range(256)) * 8192
        done = FileSender().beginFileTransfer(BytesIO(content), near.transport)
        self.elapse_until(lambda: done.called)
        self.successResultOf(done)
        self.elapse_until(lambda: len(far.received) == len(content))
        self.assertEqual(far.received, content)

    def test_echo(self) -> None:
        """An echo that is itself stopped while it cannot send keeps nothing more than that, and loses nothing."""

        class PolitelyEcho(Echo):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.registerProducer(self.transport, True)  # type: ignore[union-attr]

        near, far = self.connect(StoppedRecorder, PolitelyEcho)
        source = Source(near.transport, bytes(16 * MEBI))
        self.reactor.elapse(3)
        self.assertTrue(source.paused)
        self.assertLessEqual(far.transport.stream.sender.queue.length, HIGH_WATER + RECEIVE_WINDOW)
        near.transport.resumeProducing()
        self.elapse_until(lambda: len(near.received) == 16 * MEBI)


class MessageTests(UDXTestCase):
    """What goes beside the stream."""

    def test_interface(self) -> None:
        """The transport offers it."""
        near, _ = self.connect()
        self.assertTrue(verifyObject(IMessageTransport, near.transport))

    def test_messages(self) -> None:
        """Messages come whole, the empty one and the longest too; the answers as well."""
        near, far = self.connect()
        messages = [b"one", b"", bytes(near.transport.max_message)]
        for message in messages:
            near.transport.send_message(message)
        far.transport.send_message(b"answer")
        self.pump()
        self.assertEqual((far.messages, near.messages), (messages, [b"answer"]))

    def test_too_long(self) -> None:
        """One that does not fit into a packet is refused."""
        near, far = self.connect()
        with self.assertRaises(ValueTooLargeError):
            near.transport.send_message(bytes(near.transport.max_message + 1))
        self.pump()
        self.assertEqual((far.messages, near.lost), ([], None))

    def test_nobody_wants_them(self) -> None:
        """A protocol that knows of no messages never hears of them."""
        near, far = self.connect(far=Recorder)
        near.transport.send_message(b"message")
        near.transport.write(b"data")
        self.pump()
        self.assertEqual((far.received, far.lost), (b"data", None))

    def test_beside_a_full_stream(self) -> None:
        """They come through when the reader has stopped."""

        near, far = self.connect()
        far.transport.pauseProducing()
        Source(near.transport, bytes(8 * MEBI))
        self.reactor.elapse(1)
        near.transport.send_message(b"urgent")
        self.pump()
        self.assertEqual((far.messages, far.received), ([b"urgent"], b""))

    def test_after_the_end(self) -> None:
        """One that is sent when all is over is lost."""
        near, far = self.connect()
        near.transport.abortConnection()
        near.transport.send_message(b"too late")
        self.pump()
        self.assertEqual(far.messages, [])
