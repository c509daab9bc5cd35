"""The transport of every stream that we hand out."""

from __future__ import annotations

import sys
from io import BytesIO

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.errors import DuplicateConnectionError, StreamAbortedError, StreamResetError
from spaceswarm_proxy.interfaces import IByteCounts
from spaceswarm_proxy.transport import StreamTransport
from tests.transport_support import (
    DONE,
    HERE,
    THERE,
    HalfCloseableProtocol,
    OwnedTransport,
    ScriptedProducer,
    ScriptedProtocol,
    attached,
)


def reset() -> Failure:
    return Failure(StreamResetError())


class BasicTests(SynchronousTestCase):
    """What it is."""

    def test_interfaces(self) -> None:
        """It is a transport, a consumer and a producer, and counts."""
        transport, _ = attached()
        for interface in (ITCPTransport, IConsumer, IPushProducer, IByteCounts):
            if interface is not ITCPTransport:  # sendFileDescriptor and the like are not in it
                verifyObject(interface, transport)
            self.assertTrue(interface.providedBy(transport))

    def test_addresses(self) -> None:
        """It answers with the addresses that it was made with."""
        transport, _ = attached()
        self.assertEqual((transport.getHost(), transport.getPeer()), (HERE, THERE))

    def test_tcp_options(self) -> None:
        """What Twisted's protocols set on a TCP transport is accepted."""
        transport, _ = attached()
        transport.setTcpNoDelay(False)
        transport.setTcpKeepAlive(False)
        self.assertTrue(transport.getTcpNoDelay() and transport.getTcpKeepAlive())

    def test_small(self) -> None:
        """An idle one has no dictionary and no buffers."""
        transport = StreamTransport(HERE, THERE)
        self.assertFalse(hasattr(transport, "__dict__"))
        self.assertLess(sys.getsizeof(transport), 300)

    def test_state(self) -> None:
        """``connected`` and ``disconnecting`` are as on Twisted's own."""
        transport, _ = attached()
        self.assertTrue(transport.connected and not transport.disconnecting)
        transport.loseConnection()
        self.assertTrue(transport.connected and transport.disconnecting)
        transport.connection_ended(DONE)
        self.assertFalse(transport.connected)

    def test_byte_counts(self) -> None:
        """It counts what was delivered and what was accepted."""
        transport, _ = attached()
        transport.write(b"four")
        transport.pauseProducing()
        transport.data_arrived([b"six", b"six"])
        self.assertEqual((transport.bytes_written, transport.bytes_read), (4, 0))
        transport.resumeProducing()
        transport.turn()
        self.assertEqual(transport.bytes_read, 6)


class DeliveryTests(SynchronousTestCase):
    """From the owner to the protocol."""

    def test_joined(self) -> None:
        """What arrives together is delivered in one call."""
        transport, protocol = attached()
        transport.data_arrived([b"one", b"two"])
        self.assertEqual(protocol.calls, ["made", b"onetwo"])

    def test_nothing(self) -> None:
        """No data is no call."""
        transport, protocol = attached()
        transport.data_arrived([])
        transport.data_arrived([b""])
        self.assertEqual(protocol.calls, ["made"])

    def test_before_attach(self) -> None:
        """What arrives before there is a protocol waits for it."""
        transport, protocol = OwnedTransport(), HalfCloseableProtocol()
        transport.data_arrived([b"one"])
        transport.data_arrived([b"two"])
        transport.end_arrived()
        transport.connection_ended(DONE)
        transport.attach(protocol)
        self.assertEqual(protocol.calls, ["made", b"onetwo", "read lost", "lost"])

    def test_aborted_before_attach(self) -> None:
        """Who is attached to an aborted stream learns of it."""
        transport, protocol = OwnedTransport(), ScriptedProtocol()
        transport.data_arrived([b"one"])
        transport.abort(DuplicateConnectionError())
        transport.attach(protocol)
        self.assertEqual(protocol.calls, ["made", "lost"])
        self.assertIsInstance(protocol.reason.value, DuplicateConnectionError)
        self.assertEqual(transport.clock.getDelayedCalls(), [])

    def test_paused(self) -> None:
        """A paused protocol gets nothing; what is held comes in the turn after it has resumed, in one call."""
        transport, protocol = attached()
        transport.pauseProducing()
        transport.data_arrived([b"one"])
        transport.data_arrived([b"two"])
        transport.resumeProducing()
        self.assertEqual(protocol.calls, ["made"])
        transport.turn()
        self.assertEqual(protocol.calls, ["made", b"onetwo"])

    def test_paused_again(self) -> None:
        """Resuming and pausing in one turn delivers nothing."""
        transport, protocol = attached()
        transport.pauseProducing()
        transport.data_arrived([b"one"])
        transport.resumeProducing()
        transport.pauseProducing()
        transport.turn()
        self.assertEqual(protocol.calls, ["made"])

    def test_paused_in_connection_made(self) -> None:
        """A protocol may pause before anything has arrived."""
        transport, protocol = OwnedTransport(), ScriptedProtocol(connectionMade=lambda t: t.pauseProducing())
        transport.data_arrived([b"one"])
        transport.attach(protocol)
        self.assertEqual(protocol.calls, ["made"])

    def test_owner_knows_who_reads(self) -> None:
        """The owner is told when reading stops and goes on, once each."""
        transport, _ = attached()
        for _ in range(2):
            transport.pauseProducing()
        for _ in range(2):
            transport.resumeProducing()
        self.assertEqual(transport.orders, ["stopped", "reading"])

    def test_consumed(self) -> None:
        """What the protocol got is reported as consumed."""
        transport, _ = attached()
        transport.data_arrived([b"one", b"three"])
        self.assertEqual(transport.consumed, 8)

    def test_consumed_when_it_wants_more(self) -> None:
        """What is held is not consumed; nor is that over which the protocol paused, until it resumes."""
        transport, _ = attached(ScriptedProtocol(dataReceived=lambda t: t.pauseProducing()))
        transport.data_arrived([b"one"])
        transport.data_arrived([b"three"])
        self.assertEqual(transport.consumed, 0)
        transport.resumeProducing()
        self.assertEqual(transport.consumed, 3)
        transport.turn()
        self.assertEqual(transport.consumed, 3)

    def test_never_reentrant(self) -> None:
        """What arrives from inside a hook, or a call to the protocol, is delivered after it."""
        transport, protocol = attached()
        after_consumed, after_send = iter([b"two"]), iter([b"three"])
        transport.inside["consumed"] = lambda: transport.data_arrived([next(after_consumed, b"")])
        transport.inside["send"] = lambda: transport.data_arrived([next(after_send, b"")])
        protocol.script["dataReceived"] = lambda t: t.write(b"answer")
        transport.data_arrived([b"one"])
        transport.turn()
        self.assertEqual(protocol.received, b"onethreetwo")

    def test_resume_never_delivers_inside(self) -> None:
        """Resuming may make the owner deliver more at once; the protocol gets it in the next turn."""
        transport, protocol = attached()
        transport.pauseProducing()
        transport.inside["reading"] = lambda: transport.data_arrived([b"more"])
        transport.resumeProducing()
        self.assertEqual(protocol.calls, ["made"])
        transport.turn()
        self.assertEqual(protocol.calls, ["made", b"more"])

    def test_after_lose_connection(self) -> None:
        """Who has lost the connection gets no more data; to the far end it counts as read."""
        transport, protocol = attached()
        transport.pauseProducing()
        transport.data_arrived([b"held"])
        transport.loseConnection()
        transport.data_arrived([b"late"])
        transport.end_arrived()
        self.assertEqual((protocol.calls, transport.consumed), (["made"], 8))

    def test_data_after_the_end(self) -> None:
        """Data after the far end's end is none."""
        transport, protocol = attached(HalfCloseableProtocol())
        transport.end_arrived()
        transport.data_arrived([b"late"])
        self.assertEqual(protocol.calls, ["made", "read lost"])


class FarEndTests(SynchronousTestCase):
    """The far end ends its direction, or the stream."""

    def test_half_closeable(self) -> None:
        """A protocol that can half-close is told of the far end's end once, and may go on writing."""
        transport, protocol = attached(HalfCloseableProtocol())
        transport.data_arrived([b"last"])
        transport.end_arrived()
        transport.end_arrived()
        transport.write(b"answer")
        self.assertEqual(protocol.calls, ["made", b"last", "read lost"])
        self.assertEqual((transport.sent, transport.orders), (b"answer", []))

    def test_not_half_closeable(self) -> None:
        """For any other protocol it is the end, when its producer is done."""
        transport, _ = attached()
        producer = ScriptedProducer()
        transport.registerProducer(producer, True)
        transport.end_arrived()
        self.assertEqual(transport.orders, [])
        transport.unregisterProducer()
        self.assertEqual(transport.orders, ["finish"])

    def test_not_half_closeable_and_its_own_producer(self) -> None:
        """A protocol that produces by itself, or an echo, has no other way to learn that it is to stop."""
        for echo in (True, False):
            transport, protocol = attached()
            producer = ScriptedProducer()
            transport.registerProducer(transport if echo else protocol, True)
            protocol.stopProducing = producer.stopProducing
            transport.end_arrived()
            self.assertEqual(([] if echo else ["stop"], ["finish"]), (producer.calls, transport.orders))

    def test_end_waits_for_data(self) -> None:
        """The end comes after what is held."""
        transport, protocol = attached(HalfCloseableProtocol())
        transport.pauseProducing()
        transport.data_arrived([b"last"])
        transport.end_arrived()
        self.assertEqual(protocol.calls, ["made"])
        transport.resumeProducing()
        transport.turn()
        self.assertEqual(protocol.calls, ["made", b"last", "read lost"])

    def test_end_while_paused(self) -> None:
        """Who is paused does not learn of the end until it resumes."""
        transport, protocol = attached(HalfCloseableProtocol())
        transport.pauseProducing()
        transport.end_arrived()
        self.assertEqual(protocol.calls, ["made"])
        transport.resumeProducing()
        transport.turn()
        self.assertEqual(protocol.calls, ["made", "read lost"])

    def test_clean_end(self) -> None:
        """A clean end is told after what is held, and only once."""
        transport, protocol = attached(HalfCloseableProtocol())
        transport.pauseProducing()
        transport.data_arrived([b"last"])
        transport.end_arrived()
        transport.connection_ended(DONE)
        transport.connection_ended(reset())
        self.assertEqual(protocol.calls, ["made"])
        transport.resumeProducing()
        transport.turn()
        self.assertEqual(protocol.calls, ["made", b"last", "read lost", "lost"])
        self.assertIsInstance(protocol.reason.value, ConnectionDone)

    def test_clean_end_with_nothing_held(self) -> None:
        """A paused protocol for which nothing is held learns of the end at once."""
        transport, protocol = attached(HalfCloseableProtocol())
        transport.pauseProducing()
        transport.end_arrived()
        transport.connection_ended(DONE)
        self.assertEqual(protocol.calls, ["made", "read lost", "lost"])

    def test_reset(self) -> None:
        """A reset is told at once, what is held is lost."""
        transport, protocol = attached()
        transport.pauseProducing()
        transport.data_arrived([b"held"])
        transport.connection_ended(reset())
        self.assertEqual(protocol.calls, ["made", "lost"])
        self.assertIsInstance(protocol.reason.value, ConnectionLost)

    def test_close_with_held_data(self) -> None:
        """Who closes what has ended already gives up what is held."""
        for close, reason in (
            (OwnedTransport.loseConnection, ConnectionDone),
            (OwnedTransport.abortConnection, StreamAbortedError),
        ):
            transport, protocol = attached()
            transport.pauseProducing()
            transport.data_arrived([b"held"])
            transport.connection_ended(DONE)
            close(transport)
            self.assertEqual(protocol.calls, ["made"])
            transport.turn()
            self.assertEqual(protocol.calls, ["made", "lost"])
            self.assertIsInstance(protocol.reason.value, reason)
            self.assertEqual(transport.orders, ["stopped", "disconnected"])

    def test_nothing_after_the_end(self) -> None:
        """When it is over, everything is accepted and nothing happens."""
        transport, protocol = attached(HalfCloseableProtocol())
        transport.connection_ended(reset())
        transport.data_arrived([b"late"])
        transport.end_arrived()
        transport.write(b"late")
        transport.sender_paused()
        transport.sender_resumed()
        transport.pauseProducing()
        transport.resumeProducing()
        transport.loseWriteConnection()
        transport.loseConnection()
        transport.abortConnection()
        self.assertEqual((protocol.calls, transport.orders, transport.sent), (["made", "lost"], ["disconnected"], b""))
        self.assertEqual(transport.clock.getDelayedCalls(), [])
        self.assertIsNone(transport.protocol)


class WriteTests(SynchronousTestCase):
    """From the protocol to the owner."""

    def test_write(self) -> None:
        """What is written is sent; of nothing, nothing."""
        transport, _ = attached()
        transport.inside["send"] = lambda: self.assertTrue(transport.sent)
        transport.write(b"")
        transport.write(b"one")
        transport.writeSequence([b"two", b"three"])
        self.assertEqual(transport.sent, b"onetwothree")

    def test_not_bytes(self) -> None:
        """Text is a TypeError."""
        transport, _ = attached()
        for write in (lambda: transport.write("text"), lambda: transport.writeSequence(["text"])):  # type: ignore
            self.assertRaises(TypeError, write)

    def test_write_after_the_end(self) -> None:
        """What is written after the end is ignored."""
        for end in (OwnedTransport.loseConnection, OwnedTransport.loseWriteConnection, OwnedTransport.abortConnection):
            transport, _ = attached()
            end(transport)
            transport.write(b"late")
            self.assertEqual(transport.sent, b"")

    def test_lose_connection(self) -> None:
        """``loseConnection`` finishes the stream, once; the owner says when it is over."""
        transport, protocol = attached()
        transport.write(b"last")
        transport.loseConnection()
        transport.loseConnection()
        transport.stopProducing()
        self.assertEqual((transport.orders, protocol.calls), (["finish"], ["made"]))
        transport.connection_ended(DONE)
        self.assertEqual(protocol.calls, ["made", "lost"])

    def test_owner_answers_at_once(self) -> None:
        """If the owner is done from inside the hook, the protocol learns of it in the next turn."""
        transport, protocol = attached()
        transport.inside["finish"] = lambda: transport.connection_ended(DONE)
        transport.loseConnection()
        self.assertEqual(protocol.calls, ["made"])
        transport.turn()
        self.assertEqual(protocol.calls, ["made", "lost"])

    def test_write_fails_at_once(self) -> None:
        """If the owner finds in the midst of a write that the stream is over, that is told in the next turn, too."""
        transport, protocol = attached()
        transport.inside["send"] = lambda: transport.connection_ended(reset())
        transport.write(b"data")
        self.assertEqual(protocol.calls, ["made"])
        transport.turn()
        self.assertEqual(protocol.calls, ["made", "lost"])

    def test_lose_write_connection(self) -> None:
        """Half-close: the end is sent once, the protocol is told in the next turn, and goes on reading."""
        transport, protocol = attached(HalfCloseableProtocol())
        transport.loseWriteConnection()
        transport.loseWriteConnection()
        self.assertEqual((transport.orders, protocol.calls), (["end"], ["made"]))
        transport.turn()
        transport.data_arrived([b"answer"])
        self.assertEqual(protocol.calls, ["made", "write lost", b"answer"])

    def test_both_ends(self) -> None:
        """When both directions have ended, in either order, the stream is finished."""
        ours, theirs = OwnedTransport.loseWriteConnection, OwnedTransport.end_arrived
        for first, second in ((ours, theirs), (theirs, ours)):
            transport, _ = attached(HalfCloseableProtocol())
            first(transport)
            self.assertNotIn("finish", transport.orders)
            second(transport)
            transport.turn()
            transport.loseConnection()
            self.assertEqual(transport.orders, ["end", "finish"])

    def test_lose_connection_after_half_close(self) -> None:
        """Who has half-closed may close."""
        transport, _ = attached(HalfCloseableProtocol())
        transport.loseWriteConnection()
        transport.loseConnection()
        self.assertEqual(transport.orders, ["end", "finish"])

    def test_abort(self) -> None:
        """``abortConnection`` ends it at once, in the next turn, with an error that is Twisted's too."""
        transport, protocol = attached()
        transport.pauseProducing()
        transport.data_arrived([b"held"])
        transport.orders.clear()
        transport.abortConnection()
        transport.abortConnection()
        self.assertEqual((transport.orders, protocol.calls), (["abort"], ["made"]))
        transport.turn()
        self.assertEqual(protocol.calls, ["made", "lost"])
        self.assertIsInstance(protocol.reason.value, ConnectionAborted)

    def test_abort_while_closing(self) -> None:
        """Who has closed and finds that it takes too long may abort."""
        transport, protocol = attached()
        transport.loseConnection()
        transport.abortConnection()
        transport.turn()
        self.assertEqual((transport.orders, protocol.calls[-1]), (["finish", "abort", "disconnected"], "lost"))
        self.assertIsInstance(protocol.reason.value, StreamAbortedError)


class InsideTests(SynchronousTestCase):
    """Whatever the protocol does from inside its own calls."""

    CALLBACKS = ("connectionMade", "dataReceived", "readConnectionLost", "writeConnectionLost")

    def run_with(self, **script):
        """Let every callback happen, if what the script does allows it."""
        transport, protocol = OwnedTransport(), HalfCloseableProtocol(**script)
        transport.inside["finish"] = lambda: transport.connection_ended(DONE)
        transport.attach(protocol)
        transport.data_arrived([b"one"])
        transport.end_arrived()
        transport.turn()
        transport.loseWriteConnection()
        transport.turn()
        transport.turn()
        self.assertEqual(protocol.calls.count("lost"), 1)
        self.assertEqual(transport.clock.getDelayedCalls(), [])
        return transport, protocol

    def test_untouched(self) -> None:
        """Without a script the calls come in this order."""
        _, protocol = self.run_with()
        self.assertEqual(protocol.calls, ["made", b"one", "read lost", "lost"])

    def test_abort_inside(self) -> None:
        """An abort inside any call is the last of it."""
        for name in self.CALLBACKS[:3]:
            transport, protocol = self.run_with(**{name: lambda t: t.abortConnection()})
            self.assertEqual(len(protocol.calls), self.CALLBACKS.index(name) + 2, name)
            self.assertIsInstance(protocol.reason.value, StreamAbortedError)
            self.assertEqual(transport.orders, ["abort", "disconnected"])

    def test_abort_in_write_connection_lost(self) -> None:
        """Also inside the call that tells of the half-close."""
        transport, protocol = attached(HalfCloseableProtocol(writeConnectionLost=lambda t: t.abortConnection()))
        transport.loseWriteConnection()
        transport.turn()
        self.assertEqual(protocol.calls, ["made", "write lost", "lost"])
        self.assertEqual(transport.clock.getDelayedCalls(), [])

    def test_lose_inside(self) -> None:
        """So is a close, and it is clean."""
        for name in self.CALLBACKS[:3]:
            transport, protocol = self.run_with(**{name: lambda t: t.loseConnection()})
            self.assertEqual(len(protocol.calls), self.CALLBACKS.index(name) + 2, name)
            self.assertIsInstance(protocol.reason.value, ConnectionDone)
            self.assertEqual(transport.orders, ["finish", "disconnected"])

    def test_write_inside(self) -> None:
        """Writes go out from inside any call."""
        for name in self.CALLBACKS[:3]:
            transport, _ = self.run_with(**{name: lambda t: t.write(b"answer")})
            self.assertEqual(transport.sent, b"answer")

    def test_pause_and_resume_inside(self) -> None:
        """Pausing and resuming inside one call changes nothing."""

        def toggle(transport):
            transport.pauseProducing()
            transport.resumeProducing()

        for name in self.CALLBACKS[:3]:
            _, protocol = self.run_with(**{name: toggle})
            self.assertEqual(protocol.calls, ["made", b"one", "read lost", "lost"])

    def test_everything_in_connection_lost(self) -> None:
        """When it is over nothing that the protocol tries has an effect."""

        def try_everything(transport):
            transport.write(b"late")
            transport.resumeProducing()
            transport.loseConnection()
            transport.abortConnection()

        transport, _ = self.run_with(connectionLost=try_everything)
        self.assertEqual(transport.sent, b"")

    def test_exceptions(self) -> None:
        """What the protocol raises is logged, and aborts its stream."""

        def fail(_):
            raise ZeroDivisionError

        for name in self.CALLBACKS[:3]:
            transport, protocol = self.run_with(**{name: fail})
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertIsInstance(protocol.reason.value, StreamAbortedError)
            self.assertEqual(transport.orders[0], "abort")
        self.run_with(connectionLost=fail)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ProducerTests(SynchronousTestCase):
    """Who writes as fast as the owner takes it."""

    def test_push(self) -> None:
        """A push producer is paused when the owner is full, and resumed when it is not; once each."""
        transport, _ = attached()
        producer = ScriptedProducer()
        transport.registerProducer(producer, True)
        for _ in range(2):
            transport.sender_paused()
        for _ in range(2):
            transport.sender_resumed()
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_registered_when_full(self) -> None:
        """A producer that comes when the owner is full has to wait."""
        for streaming, calls in ((True, ["pause", "resume"]), (False, ["resume"])):
            transport, _ = attached()
            transport.sender_paused()
            producer = ScriptedProducer()
            transport.registerProducer(producer, streaming)
            transport.sender_resumed()
            self.assertEqual(producer.calls, calls)

    def test_pull(self) -> None:
        """A pull producer is asked again in the turn after it has written, a few times, unless the owner is full."""
        transport, _ = attached()
        producer = ScriptedProducer(lambda: transport.write(b"."))
        transport.registerProducer(producer, False)
        self.assertEqual(transport.sent, b".")
        transport.turn()
        several = len(transport.sent)
        self.assertLess(2, several)
        transport.sender_paused()
        transport.turn()
        self.assertEqual(several, len(transport.sent))
        transport.sender_resumed()
        transport.turn()
        self.assertLess(several + 2, len(transport.sent))

    def test_pull_until_full(self) -> None:
        """It is not asked any more in the same turn once the owner is full."""
        transport, _ = attached()
        producer = ScriptedProducer(lambda: (transport.write(b"."), transport.sender_paused()))
        transport.registerProducer(producer, False)
        transport.turn()
        self.assertEqual(transport.sent, b".")

    def test_pull_with_nothing_to_say(self) -> None:
        """A pull producer that writes nothing is not asked over and over; it is when it has written later."""
        transport, _ = attached()
        producer = ScriptedProducer()
        transport.registerProducer(producer, False)
        self.assertEqual(transport.clock.getDelayedCalls(), [])
        transport.write(b"late")
        transport.turn()
        self.assertEqual(producer.calls, ["resume", "resume"])

    def test_one_at_a_time(self) -> None:
        """A second producer is refused until the first is done."""
        transport, _ = attached()
        transport.registerProducer(ScriptedProducer(), True)
        self.assertRaises(RuntimeError, transport.registerProducer, ScriptedProducer(), True)
        transport.unregisterProducer()
        transport.registerProducer(ScriptedProducer(), True)

    def test_too_late(self) -> None:
        """A producer that comes after the end is stopped."""
        for end in (OwnedTransport.loseConnection, OwnedTransport.loseWriteConnection, OwnedTransport.abortConnection):
            transport, _ = attached()
            end(transport)
            producer = ScriptedProducer()
            transport.registerProducer(producer, True)
            self.assertEqual(producer.calls, ["stop"])

    def test_stopped_at_the_end(self) -> None:
        """A producer is stopped when the stream is over, before the protocol is told."""
        transport, protocol = attached()
        producer = ScriptedProducer()
        transport.registerProducer(producer, True)
        protocol.script["connectionLost"] = lambda _: self.assertEqual(producer.calls, ["stop"])
        transport.connection_ended(reset())
        self.assertEqual(protocol.calls, ["made", "lost"])

    def test_ends_wait(self) -> None:
        """Both kinds of end wait until the producer has unregistered, and let it write."""
        for end, order in ((OwnedTransport.loseConnection, "finish"), (OwnedTransport.loseWriteConnection, "end")):
            transport, _ = attached()
            transport.registerProducer(ScriptedProducer(), True)
            end(transport)
            transport.write(b"the rest")
            self.assertEqual(transport.orders, [])
            transport.unregisterProducer()
            self.assertEqual((transport.sent, transport.orders), (b"the rest", [order]))

    def test_producer_fails(self) -> None:
        """A producer that raises loses its stream; the owner does not notice."""

        def fail():
            raise ZeroDivisionError

        transport, protocol = attached()
        transport.registerProducer(ScriptedProducer(fail), True)
        transport.sender_paused()
        transport.sender_resumed()
        transport.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(protocol.calls, ["made", "lost"])

    def test_file_sender(self) -> None:
        """Twisted's FileSender sends a file over it."""
        transport, _ = attached()
        content = bytes(range(256)) * 1024
        done = FileSender().beginFileTransfer(BytesIO(content), transport)
        transport.loseConnection()
        while transport.clock.getDelayedCalls():
            transport.turn()
        self.assertEqual(self.successResultOf(done), content[-1:])
        self.assertEqual((transport.sent, transport.orders), (content, ["finish"]))

    def test_transports_feed_each_other(self) -> None:
        """One transport can be the producer of another: what fills up there is held up here."""
        source, reader = attached()
        sink, _ = attached()
        reader.dataReceived = sink.write
        sink.registerProducer(source, True)
        sink.sender_paused()
        source.data_arrived([b"held"])
        self.assertEqual(sink.sent, b"")
        sink.sender_resumed()
        source.turn()
        self.assertEqual(sink.sent, b"held")
        sink.connection_ended(reset())
        self.assertEqual(source.orders[-1], "finish")
