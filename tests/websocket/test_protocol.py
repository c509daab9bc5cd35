"""Tests for ``spaceswarm_proxy.websocket.protocol`` and ``transport``."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.internet import error
from twisted.internet.interfaces import IConsumer, IPushProducer, ISSLTransport, ITransport
from twisted.protocols.basic import FileSender
from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import InvalidState
from websockets.frames import OK_CLOSE_CODES, Opcode
from zope.interface import directlyProvides, providedBy
from zope.interface.verify import verifyObject

from spaceswarm_proxy.errors import ConnectError, ConnectTimeoutError, LinkError, LinkLostError, LinkTimeoutError
from spaceswarm_proxy.websocket.protocol import MAX_PAYLOAD, Settings
from tests.websocket.ends import End, Producer, request


class OpeningTests(SynchronousTestCase):
    """From the connection to the user's protocol."""

    def test_both_roles(self) -> None:
        """Either role connects the user's protocol when the WebSocket is open, and leaves but the timer for pings."""
        for server in (True, False):
            end = End(server).open()
            self.assertEqual(end.user.calls, ["made"])
            self.assertEqual(end.opened, [end.user])
            self.assertEqual(end.user.transport.handshake.path, "/room")
            self.assertEqual(len(end.clock.getDelayedCalls()), 1)
            self.assertTrue(end.outer.no_delay)

    def test_transport(self) -> None:
        """The user's transport is a transport, a consumer and a producer, with the outer connection's addresses."""
        end = End().open()
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, end.user.transport)
        self.assertEqual(end.user.transport.getPeer(), end.outer.getPeer())
        self.assertEqual(end.user.transport.getHost(), end.outer.getHost())

    def test_too_slow(self) -> None:
        """An opening that takes too long is aborted, and the user's protocol is never made."""
        for server in (True, False):
            end = End(server).connect()
            end.clock.advance(14.9)
            self.assertFalse(end.outer.aborted)
            end.clock.advance(0.1)
            self.assertTrue(end.outer.aborted)
            end.lose(error.ConnectionAborted())
            end.opened[0].trap(ConnectTimeoutError)
            self.assertEqual((end.user.calls, end.clock.getDelayedCalls()), ([], []))

    def test_lost(self) -> None:
        """A connection lost during the opening fails with a ``ConnectError``."""
        for server in (True, False):
            end = End(server).connect()
            end.lose(error.ConnectionDone())
            end.opened[0].trap(ConnectError)
            self.assertEqual(end.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """Cancelling aborts the outer connection."""
        end = End(server=False).connect()
        end.ours.opened.cancel()
        self.assertTrue(end.outer.aborted)
        end.lose(error.ConnectionAborted())
        self.assertEqual(end.clock.getDelayedCalls(), [])

    def test_refused_by_server(self) -> None:
        """A client whose request is refused closes the connection; its error has the status, however that ends."""
        for ending in (error.ConnectionDone(), error.ConnectionLost()):
            end = End(server=False).connect()
            end.ours.dataReceived(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            self.assertTrue(end.outer.disconnecting)
            end.lose(ending)
            self.assertIn("403", end.opened[0].getErrorMessage())

    def test_refusal_is_heard(self) -> None:
        """A server that refuses shuts down its own direction only, drops what comes, and ends it all after a while."""
        end = End(path="/elsewhere").connect()
        end.ours.dataReceived(request("/here"))
        self.assertIn(b" 404 ", end.outer.value())
        self.assertEqual((end.outer.half_closed, end.outer.disconnecting), (True, False))
        end.ours.dataReceived(request("/elsewhere"))
        self.assertEqual(end.user.calls, [])
        end.clock.advance(10)
        self.assertTrue(end.outer.disconnecting)
        end.clock.advance(10)
        self.assertTrue(end.outer.aborted)
        end.lose(error.ConnectionAborted())
        end.opened[0].trap(ConnectError)
        self.assertEqual(end.clock.getDelayedCalls(), [])

    def test_user_wants_none(self) -> None:
        """When the user's factory declines, the remote is told to try again later."""
        for server in (True, False):
            end = End(server)
            end.user = None
            end.open().exchange()
            self.assertEqual(end.remote.close_rcvd.code, 1013)
            end.lose(error.ConnectionDone())
            end.opened[0].trap(error.NoProtocol)

    def test_user_fails(self) -> None:
        """When the user's protocol raises, the reactor hears of it, and whoever waits for the opening too."""
        end = End()
        end.user.connectionMade = lambda: 1 / 0
        self.assertRaises(ZeroDivisionError, end.open)
        end.lose(error.ConnectionLost())
        end.opened[0].trap(ConnectError)
        self.assertEqual(end.clock.getDelayedCalls(), [])

    def test_data_right_behind(self) -> None:
        """What the client sends without waiting for the answer is not lost."""
        end = End().connect()
        ping_and_text = b"\x89\x80abcd" + b"\x81\x82\0\0\0\0ok"
        end.ours.dataReceived(request() + ping_and_text)
        self.assertEqual(end.user.received, b"ok")
        answer, _, frames = end.outer.value().partition(b"\r\n\r\n")
        self.assertEqual((answer[:12], frames), (b"HTTP/1.1 101", b"\x8a\x00"))


class StreamTests(SynchronousTestCase):
    """Bytes in both directions."""

    def test_receive(self) -> None:
        """Binary and text messages, whole or in fragments, are one stream of bytes; empty ones are nothing."""
        for server in (True, False):
            end = End(server).open()
            end.remote.send_binary(b"one ")
            end.remote.send_binary(b"")
            end.remote.send_text("twö ".encode())
            end.remote.send_binary(b"th", fin=False)
            end.remote.send_ping(b"?")
            end.remote.send_continuation(b"re", fin=False)
            end.remote.send_continuation(b"e", fin=True)
            end.exchange()
            self.assertEqual(end.user.received, "one twö three".encode())
            self.assertEqual(end.told(Opcode.PONG), [b"?"])

    def test_fragments_are_not_kept(self) -> None:
        """A fragment is passed on when it is there, not when the message is complete."""
        end = End().open()
        end.remote.send_binary(b"begin", fin=False)
        end.exchange()
        self.assertEqual(end.user.received, b"begin")

    def test_send(self) -> None:
        """A write, or a sequence, is one binary message; an empty one is none."""
        for server in (True, False):
            end = End(server).open()
            end.user.transport.write(b"one")
            end.user.transport.writeSequence([b"t", b"w", b"o"])
            end.user.transport.write(b"")
            self.assertEqual(end.told(Opcode.BINARY), [b"one", b"two"])

    def test_send_much(self) -> None:
        """A large write is split into messages of a moderate size."""
        for server in (True, False):
            end = End(server).open()
            data = bytes(range(256)) * (MAX_PAYLOAD // 100)
            end.user.transport.write(data)
            messages = end.told(Opcode.BINARY)
            self.assertEqual(b"".join(messages), data)
            self.assertEqual(max(map(len, messages)), MAX_PAYLOAD)

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(1, 50), min_size=1), st.booleans())
    def test_any_pieces(self, messages: list[bytes], sizes: list[int], server: bool) -> None:
        """However the outer connection cuts it, the stream is the same."""
        end = End(server).open()
        for message in messages:
            end.remote.send_binary(message)
        wire, turn = b"".join(end.remote.data_to_send()), 0
        while wire:
            size = sizes[turn % len(sizes)]
            end.ours.dataReceived(wire[:size])
            wire, turn = wire[size:], turn + 1
        self.assertEqual(end.user.received, b"".join(messages))

    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.binary(min_size=1), max_size=5), st.booleans(), st.booleans())
    def test_garbage(self, pieces: list[bytes], server: bool, opened: bool) -> None:
        """Whatever a remote sends, at whatever time, nothing is raised and nothing is left when it is gone."""
        end = End(server)
        end.open() if opened else end.connect()
        for piece in pieces:
            end.ours.dataReceived(piece)
        end.lose(error.ConnectionDone())
        self.assertEqual(end.clock.getDelayedCalls(), [])
        self.assertEqual(end.user.calls.count("lost"), end.user.calls.count("made"))

    def test_too_long(self) -> None:
        """A message over the limit, in one piece or in many, closes the connection with 1009."""
        for sizes in ([101], [50, 50, 1]):
            end = End(settings=Settings(max_message=100)).open()
            end.remote.send_binary(b"x" * 100)
            end.remote.send_binary(b"x" * sizes.pop(0), fin=not sizes)
            while sizes:
                end.remote.send_continuation(b"x" * sizes.pop(0), fin=not sizes)
            end.exchange()
            self.assertEqual(end.remote.close_rcvd.code, 1009)
            end.lose(error.ConnectionDone())
            end.user.lost[0].trap(LinkError)

    def test_breach(self) -> None:
        """What breaks the protocol closes the connection with 1002, and what had come before it is delivered."""
        end = End().open()
        end.ours.dataReceived(b"\x82\x82\0\0\0\0ok" + b"\xff\xff")
        end.exchange()
        self.assertEqual(end.remote.close_rcvd.code, 1002)
        self.assertTrue(end.outer.half_closed)
        self.assertEqual(end.user.received, b"ok")
        end.lose(error.ConnectionDone())
        end.user.lost[0].trap(LinkError)

    def test_user_fails(self) -> None:
        """When the user's protocol raises, the reactor hears of it."""
        end = End().open()
        end.user.dataReceived = lambda _: 1 / 0
        end.remote.send_binary(b"x")
        self.assertRaises(ZeroDivisionError, end.exchange)


class PressureTests(SynchronousTestCase):
    """Back-pressure in both directions."""

    def test_reading(self) -> None:
        """The user's pauses stop and start the outer connection's reading, once each."""
        end = End().open()
        for _ in range(2):
            end.user.transport.pauseProducing()
            self.assertEqual(end.outer.producerState, "paused")
        for _ in range(2):
            end.user.transport.resumeProducing()
            self.assertEqual(end.outer.producerState, "producing")

    def test_push_producer(self) -> None:
        """A push producer is paused and resumed as the outer connection asks."""
        end, producer = End().open(), Producer()
        end.user.transport.registerProducer(producer, True)
        end.outer.producer.pauseProducing()
        end.outer.producer.pauseProducing()
        end.outer.producer.resumeProducing()
        end.outer.producer.resumeProducing()
        self.assertEqual(producer.calls, ["pause", "resume"])
        self.assertRaises(RuntimeError, end.user.transport.registerProducer, Producer(), True)

    def test_producer_comes_late(self) -> None:
        """One that is registered while writing is blocked is paused at once; after the end it is stopped."""
        end, producer = End().open(), Producer()
        end.outer.producer.pauseProducing()
        end.user.transport.registerProducer(producer, True)
        self.assertEqual(producer.calls, ["pause"])
        end.user.transport.unregisterProducer()
        end.lose(error.ConnectionLost())
        end.user.transport.registerProducer(producer, True)
        self.assertEqual(producer.calls, ["pause", "stop"])

    def test_pull_producer(self) -> None:
        """A pull producer is pulled once a turn, but not while writing is blocked."""
        end = End().open()
        write = end.outer.write
        end.outer.write = lambda data: (write(data), end.outer.producer.pauseProducing())
        data = b"x" * (FileSender.CHUNK_SIZE * 3)
        sent = FileSender().beginFileTransfer(BytesIO(data), end.user.transport)
        for chunks in range(1, 4):
            self.assertNoResult(sent)
            end.clock.pump([0] * 5)
            self.assertEqual(len(end.told(Opcode.BINARY)), chunks)
            end.outer.producer.resumeProducing()
        end.clock.advance(0)
        self.successResultOf(sent)
        self.assertEqual(b"".join(end.told(Opcode.BINARY)), data)
        self.assertEqual(len(end.clock.getDelayedCalls()), 1)

    def test_pull_producer_fails(self) -> None:
        """One that raises ends its connection."""
        end, producer = End().open(), Producer()
        producer.resumeProducing = lambda: 1 / 0  # type: ignore[method-assign, assignment]
        end.user.transport.registerProducer(producer, False)
        end.clock.advance(0)
        self.assertTrue(end.outer.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        end.lose(error.ConnectionAborted())
        self.assertEqual((producer.calls, end.clock.getDelayedCalls()), (["stop"], []))

    def test_ping_flood(self) -> None:
        """A remote that pings and does not read is owed one pong, the last."""
        end = End().open()
        end.outer.producer.pauseProducing()
        for number in range(1000):
            end.remote.send_ping(b"%d" % number)
        self.assertEqual(end.told(Opcode.PONG), [])
        end.outer.producer.resumeProducing()
        self.assertEqual(end.told(Opcode.PONG), [b"999"])


class LivenessTests(SynchronousTestCase):
    """Pings."""

    def test_pings(self) -> None:
        """A silent remote is pinged; its answer keeps the connection."""
        for server in (True, False):
            end = End(server).open()
            for _ in range(4):
                end.clock.advance(30)
                end.exchange()
            self.assertEqual(len(end.told(Opcode.PING)), 4)
            self.assertFalse(end.outer.aborted)

    def test_dead(self) -> None:
        """One that does not answer is given up: ``LinkTimeoutError``."""
        end = End().open()
        end.clock.pump([30, 30])
        self.assertTrue(end.outer.aborted)
        end.lose(error.ConnectionAborted())
        end.user.lost[0].trap(LinkTimeoutError)
        self.assertEqual(end.clock.getDelayedCalls(), [])

    def test_not_its_fault(self) -> None:
        """Nobody is given up while we do not read, or cannot write."""
        end = End().open()
        end.user.transport.pauseProducing()
        end.clock.pump([30] * 5)
        end.user.transport.resumeProducing()
        end.outer.producer.pauseProducing()
        end.clock.pump([30] * 5)
        end.outer.producer.resumeProducing()
        self.assertFalse(end.outer.aborted)
        end.clock.pump([30] * 3)
        self.assertTrue(end.outer.aborted)


class ClosingTests(SynchronousTestCase):
    """Every way to end."""

    def test_ours(self) -> None:
        """``loseConnection`` sends what was written, then 1000, and is done when the remote has answered."""
        for server in (True, False):
            end = End(server).open()
            end.user.transport.write(b"last words")
            end.user.transport.loseConnection()
            end.user.transport.loseConnection()
            end.user.transport.write(b"too late")
            self.assertEqual(end.told(Opcode.BINARY), [b"last words"])
            self.assertEqual(end.remote.close_rcvd.code, 1000)
            end.lose(error.ConnectionDone())
            end.user.lost[0].trap(error.ConnectionDone)
            self.assertEqual((end.user.calls, end.clock.getDelayedCalls()), (["made", "lost"], []))

    def test_ours_drops_what_comes(self) -> None:
        """What the remote sends after our ``loseConnection`` is not delivered, even by a transport that was paused."""
        end = End().open()
        end.user.transport.pauseProducing()
        end.user.transport.loseConnection()
        self.assertEqual(end.outer.producerState, "producing")
        end.remote.send_binary(b"too late")
        end.exchange()
        self.assertEqual(end.user.received, b"")

    def test_ours_waits_for_producer(self) -> None:
        """With a producer registered, the close frame follows when that is done."""
        end, producer = End().open(), Producer()
        end.user.transport.registerProducer(producer, True)
        end.user.transport.loseConnection()
        end.user.transport.write(b"more")
        self.assertEqual((end.told(Opcode.BINARY), end.remote.close_rcvd), ([b"more"], None))
        end.user.transport.unregisterProducer()
        end.exchange()
        self.assertEqual(end.remote.close_rcvd.code, 1000)

    def test_stop_producing(self) -> None:
        """``stopProducing`` of the transport is ``loseConnection``."""
        end = End().open()
        end.user.transport.stopProducing()
        end.exchange()
        self.assertEqual(end.remote.close_rcvd.code, 1000)

    def test_ours_unanswered(self) -> None:
        """A remote that does not answer is waited for, then closed, then aborted."""
        end = End().open()
        end.user.transport.loseConnection()
        end.clock.advance(9.9)
        self.assertFalse(end.outer.disconnecting)
        end.clock.advance(0.1)
        self.assertEqual((end.outer.disconnecting, end.outer.aborted, end.outer.producer), (True, False, None))
        end.clock.advance(10)
        self.assertTrue(end.outer.aborted)
        end.lose(error.ConnectionAborted())
        end.user.lost[0].trap(error.ConnectionAborted)
        self.assertEqual(end.clock.getDelayedCalls(), [])

    def test_ours_slow_reader(self) -> None:
        """The time for the answer begins when everything has been handed over; for that there is more."""
        end = End().open()
        end.outer.producer.pauseProducing()
        end.user.transport.loseConnection()
        end.clock.advance(59)
        end.outer.producer.resumeProducing()
        end.clock.advance(9)
        self.assertFalse(end.outer.disconnecting)
        end.exchange()
        self.assertTrue(end.outer.half_closed)

    def test_ours_stuck_reader(self) -> None:
        """A remote that reads nothing is aborted in the end."""
        end = End().open()
        end.outer.producer.pauseProducing()
        end.user.transport.loseConnection()
        end.clock.advance(60)
        self.assertTrue(end.outer.aborted)

    def test_theirs(self) -> None:
        """The remote's close is a ``ConnectionDone`` for 1000, 1001 and none, and a ``LinkLostError`` for others."""
        for code in (1000, 1001, None, 1008, 4000):
            for server in (True, False):
                end = End(server).open()
                end.remote.send_binary(b"bye")
                end.remote.send_close(code)
                end.exchange()
                self.assertEqual(end.remote.close_rcvd.code, code or 1005)
                self.assertEqual(end.outer.half_closed, server)
                end.lose(error.ConnectionDone())
                good = code is None or code in OK_CLOSE_CODES
                end.user.lost[0].trap(error.ConnectionDone if good else LinkLostError)
                self.assertEqual(end.user.received, b"bye")

    def test_theirs_stops_producers(self) -> None:
        """The remote's close pauses the user's producer, and the loss of the connection stops it."""
        end, producer = End().open(), Producer()
        end.user.transport.registerProducer(producer, False)
        end.remote.send_close(1000)
        end.exchange()
        end.clock.pump([0] * 5)
        self.assertEqual(end.told(Opcode.BINARY), [])
        end.lose(error.ConnectionDone())
        self.assertEqual(producer.calls, ["stop"])
        self.assertEqual(end.clock.getDelayedCalls(), [])

    def test_over_tls(self) -> None:
        """Where a direction can't be shut down alone, as with TLS, the outer connection is closed."""
        end = End().open()
        directlyProvides(end.outer, providedBy(end.outer), ISSLTransport)
        end.remote.send_close(1000)
        end.exchange()
        self.assertEqual((end.outer.half_closed, end.outer.disconnecting), (False, True))

    def test_cut(self) -> None:
        """An outer connection that ends without a close frame is a ``ConnectionLost``."""
        for reason in (error.ConnectionDone(), error.ConnectionLost()):
            end = End().open()
            end.lose(reason)
            end.user.lost[0].trap(error.ConnectionLost)
            self.assertEqual(end.clock.getDelayedCalls(), [])

    def test_abort(self) -> None:
        """``abortConnection`` ends it without a word: ``ConnectionAborted``, and nothing more is delivered."""
        end = End().open()
        end.user.transport.abortConnection()
        self.assertEqual((end.outer.aborted, end.outer.value()), (True, b""))
        end.remote.send_binary(b"too late")
        end.exchange()
        end.lose(error.ConnectionAborted())
        end.user.transport.abortConnection()
        end.user.lost[0].trap(error.ConnectionAborted)
        self.assertEqual(end.user.calls, ["made", "lost"])

    def test_closed_by_the_user_while_receiving(self) -> None:
        """What stands behind the data on which the user closes is not delivered."""
        for close in ("loseConnection", "abortConnection"):
            end = End().open()
            received: list[bytes] = []

            def data_received(data: bytes, close: str = close, end: Any = end, received: Any = received) -> None:
                received.append(data)
                getattr(end.user.transport, close)()

            end.user.dataReceived = data_received
            end.remote.send_binary(b"one")
            end.remote.send_binary(b"two")
            end.ours.dataReceived(b"".join(end.remote.data_to_send()))
            self.assertEqual(received, [b"one"])

    def test_after_the_end(self) -> None:
        """A transport whose connection is lost ignores what is asked of it."""
        end = End().open()
        transport = end.user.transport
        end.lose(error.ConnectionLost())
        for call in (transport.pauseProducing, transport.resumeProducing, transport.loseConnection):
            call()
        transport.write(b"x")
        transport.unregisterProducer()
        self.assertRaises(InvalidState, end.ours._core.send_binary, b"x")
        self.assertEqual(end.clock.getDelayedCalls(), [])
