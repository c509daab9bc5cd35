"""Tests of spaceswarm_proxy.tcp, over real sockets; and of the names of Twisted's that it leans on."""

from __future__ import annotations

import inspect
import socket
import struct
from typing import Any

from twisted.internet import abstract, reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from spaceswarm_proxy.tcp import MAX_PIECES, READ_SIZES, SEND_AT_ONCE, SMALL, accelerate

#: More than the kernel's buffers on both sides hold.
MUCH = 16 * 1024 * 1024


@implementer(IHalfCloseableProtocol)
class Reader(Protocol):
    """Keeps all that comes, and how it ended."""

    transport: Any

    def __init__(self) -> None:
        self.made: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self.lost: Deferred[type[BaseException] | None] = Deferred()
        self.pieces: list[bytes] = []
        self._awaited: tuple[int, Deferred[None]] | None = None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def connectionMade(self) -> None:
        self.made.callback(None)

    def until(self, size: int) -> Deferred[None]:
        """:returns: a Deferred that fires when so many bytes have come."""
        done: Deferred[None] = Deferred()
        self._awaited = size, done
        self._look()
        return done

    def _look(self) -> None:
        if self._awaited is not None and sum(map(len, self.pieces)) >= self._awaited[0]:
            (_, done), self._awaited = self._awaited, None
            done.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        self._look()

    def readConnectionLost(self) -> None:
        self.ended.callback(None)

    def writeConnectionLost(self) -> None:
        """Nothing follows from it."""

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(reason.type)


@implementer(IPushProducer)
class Source:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.resumed: Deferred[None] = Deferred()

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.resumed.callback(None)

    def stopProducing(self) -> None:
        self.told.append("stop")


@implementer(IPullProducer)
class Pulled:
    """Gives one piece each time that it is asked."""

    def __init__(self, consumer: Any, pieces: list[bytes]) -> None:
        self.consumer = consumer
        self.pieces = pieces

    def resumeProducing(self) -> None:
        self.consumer.write(self.pieces.pop(0))
        if not self.pieces:
            self.consumer.unregisterProducer()

    def stopProducing(self) -> None:
        """The connection is gone."""


class PairTestCase(TestCase):
    """With two ends of a loopback connection, both of ours: a ``Server`` and a ``Client``."""

    async def pair(self) -> tuple[Reader, Reader]:
        """:returns: the accepting end's protocol, and the connecting one's."""
        server, client = Reader(), Reader()
        factory = Factory.forProtocol(lambda: server)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        await endpoint.connect(Factory.forProtocol(lambda: client))
        await server.made
        for end in (server, client):
            accelerate(end.transport)
            self.addCleanup(self.drop, end)
        return server, client

    def drop(self, end: Reader) -> Any:
        end.transport.abortConnection()
        return end.lost


class AccelerateTests(PairTestCase):
    """What becomes ours."""

    async def test_in_place(self) -> None:
        """Both kinds of transport become ours without a new object, send at once, and can still be told apart."""
        for end, base in zip(await self.pair(), (tcp.Server, tcp.Client), strict=True):
            self.assertIsInstance(end.transport, base)
            self.assertIsNot(type(end.transport), base)
            self.assertTrue(end.transport.gathers)
            self.assertTrue(end.transport.getTcpNoDelay())

    async def test_twice(self) -> None:
        """To do it twice is to do it once."""
        server, _ = await self.pair()
        cls = type(server.transport)
        accelerate(server.transport)
        self.assertIs(type(server.transport), cls)

    def test_others(self) -> None:
        """Any other transport, TLS's and UNIX sockets' included, is left as it is."""
        transport = StringTransport()
        accelerate(transport)
        self.assertIs(type(transport), StringTransport)

    async def test_tls_started_later(self) -> None:
        """Once TLS has been started on a connection, not a byte goes past it."""
        server, client = await self.pair()
        through: list[bytes] = []

        class Between(Protocol):
            def write(self, data: bytes) -> None:
                through.append(data)

            def writeSequence(self, data: list[bytes]) -> None:
                through.extend(data)

        client.transport.TLS, client.transport.protocol = True, Between()
        client.transport.write(b"secret")
        client.transport.writeSequence([b"very", b"secret"])
        client.transport.TLS, client.transport.protocol = False, client
        client.transport.write(b"public")
        await server.until(6)
        self.assertEqual((through, server.data), ([b"secret", b"very", b"secret"], b"public"))


class WriteTests(PairTestCase):
    """Bytes out."""

    async def test_at_once(self) -> None:
        """While nothing is queued, what is written has left before the write returns."""
        server, client = await self.pair()
        self.patch(client.transport, "startWriting", lambda: self.fail("the reactor was asked to call back"))
        client.transport.write(b"x" * 100)
        client.transport.writeSequence([b"y"] * 10)
        await server.until(110)
        self.assertEqual(server.data, b"x" * 100 + b"y" * 10)

    async def test_small_writes_of_one_turn(self) -> None:
        """On a link, small writes that follow each other closely are sent together, and in order with large ones."""
        server, client = await self.pair()
        expected = b""
        for number in range(50):
            piece = bytes([number]) * (SEND_AT_ONCE if number % 10 == 9 else 3)
            server.transport.write(piece)
            expected += piece
        await client.until(len(expected))
        self.assertEqual(client.data, expected)

    async def test_slow_reader(self) -> None:
        """Writes of all sizes arrive whole and in order, however long the reader takes nothing."""
        for sender, receiver in (await self.pair(), (await self.pair())[::-1]):
            receiver.transport.pauseProducing()
            pieces = [bytes([n % 251]) * size for n, size in enumerate([1, 100_000, 7, 3_000_000, 2, 65_536] * 6)]
            for number, piece in enumerate(pieces):
                if number % 3:
                    sender.transport.write(piece)
                else:
                    sender.transport.writeSequence([piece[:1], piece[1:]])
            self.assertTrue(sender.transport._tempDataLen or sender.transport.dataBuffer)
            receiver.transport.resumeProducing()
            await receiver.until(sum(map(len, pieces)))
            self.assertEqual(receiver.data, b"".join(pieces))

    async def test_many_pieces(self) -> None:
        """A sequence may have more pieces than the kernel takes in one call, empty ones too, and be any iterable."""
        server, client = await self.pair()
        pieces = [b"%d " % number * (number % 5) for number in range(3 * MAX_PIECES)]
        client.transport.writeSequence(iter(pieces))
        client.transport.writeSequence([])
        expected = b"".join(pieces)
        await server.until(len(expected))
        self.assertEqual(server.data, expected)

    async def test_after_the_end(self) -> None:
        """What is written after our end of data, or when the connection is gone, is dropped without a word."""
        server, client = await self.pair()
        transport = client.transport
        transport.loseWriteConnection()
        await server.ended
        transport.write(b"late")
        transport.writeSequence([b"late"])
        server.transport.loseConnection()
        await client.ended
        transport.loseConnection()
        await client.lost
        transport.write(b"later")
        transport.writeSequence([b"later"])
        self.assertEqual(server.data, b"")

    async def test_after_abort(self) -> None:
        """What is written after an abort is not sent."""
        server, client = await self.pair()
        client.transport.abortConnection()
        client.transport.write(b"late")
        client.transport.writeSequence([b"late"])
        self.assertIn(await server.lost, (ConnectionLost, ConnectionDone))
        self.assertEqual(server.data, b"")


class CloseTests(PairTestCase):
    """``close_now``."""

    async def test_nothing_waits(self) -> None:
        """When everything is written, the protocol is told before the call returns, and the other end in good order."""
        server, client = await self.pair()
        client.transport.write(b"all")
        client.transport.close_now()
        self.assertIs(self.successResultOf(client.lost), ConnectionDone)
        await server.ended
        self.assertEqual(server.data, b"all")

    async def test_something_waits(self) -> None:
        """What is queued goes out first."""
        server, client = await self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(MUCH))
        client.transport.close_now()
        self.assertNoResult(client.lost)
        server.transport.resumeProducing()
        await server.ended
        self.assertEqual(sum(map(len, server.pieces)), MUCH)


class ReadTests(PairTestCase):
    """Bytes in."""

    async def test_bulk(self) -> None:
        """Reads grow while they come back full, and shrink again."""
        server, client = await self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(MUCH))
        server.transport.resumeProducing()
        await server.until(MUCH)
        self.assertLessEqual(max(map(len, server.pieces)), max(READ_SIZES))
        client.transport.write(b"small")
        await server.until(MUCH + 5)
        self.assertEqual(server.transport._read_size, SMALL)

    async def test_spurious(self) -> None:
        """To be called without anything to read is no loss of the connection."""
        server, _ = await self.pair()
        self.assertIsNone(server.transport.doRead())
        self.assertEqual(server.pieces, [])


class EndTests(PairTestCase):
    """How connections end."""

    async def test_half_close(self) -> None:
        """A half-close follows what is queued; the other direction goes on."""
        server, client = await self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(MUCH))
        client.transport.loseWriteConnection()
        server.transport.resumeProducing()
        await server.ended
        self.assertEqual(sum(map(len, server.pieces)), MUCH)
        server.transport.write(b"reply")
        await client.until(5)

    async def test_half_close_right_behind(self) -> None:
        """A half-close does not overtake what has just been sent at once."""
        server, client = await self.pair()
        client.transport.write(b"last")
        client.transport.loseWriteConnection()
        await server.ended
        self.assertEqual(server.data, b"last")

    async def test_lose_connection(self) -> None:
        """``loseConnection`` lets what is queued go out first."""
        server, client = await self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(MUCH))
        client.transport.write(b"end")
        client.transport.loseConnection()
        server.transport.resumeProducing()
        await server.ended
        self.assertEqual(sum(map(len, server.pieces)), MUCH + 3)
        self.assertEqual(server.data[-3:], b"end")

    async def test_abort(self) -> None:
        """``abortConnection`` drops what is queued."""
        server, client = await self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(MUCH))
        client.transport.abortConnection()
        self.assertIs(await client.lost, ConnectionAborted)
        server.transport.resumeProducing()
        await server.lost
        self.assertLess(sum(map(len, server.pieces)), MUCH)

    async def test_reset_by_the_peer(self) -> None:
        """A reset while much is queued is a lost connection, and stops the producer."""
        server, client = await self.pair()
        source = Source()
        client.transport.registerProducer(source, True)
        server.transport.pauseProducing()
        client.transport.write(bytes(MUCH))
        handle = server.transport.getHandle()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.transport.abortConnection()
        self.assertIs(await client.lost, ConnectionLost)
        self.assertEqual(source.told, ["pause", "stop"])

    async def test_reset_before_a_write(self) -> None:
        """A write into a connection that is dead already raises nothing; the loss is told as ever."""
        server, client = await self.pair()
        client.transport.pauseProducing()
        server.transport.abortConnection()
        await server.lost
        client.transport.write(b"x")
        client.transport.writeSequence([b"x"])
        self.assertIs(await client.lost, ConnectionLost)


class ProducerTests(PairTestCase):
    """Backpressure."""

    async def test_paused_and_resumed(self) -> None:
        """A producer is paused when the kernel takes no more, and resumed when all has gone."""
        server, client = await self.pair()
        source = Source()
        client.transport.registerProducer(source, True)
        client.transport.write(b"fits")
        self.assertEqual(source.told, [])
        server.transport.pauseProducing()
        client.transport.writeSequence([bytes(MUCH)])
        self.assertEqual(source.told, ["pause"])
        server.transport.resumeProducing()
        await source.resumed
        self.assertEqual(source.told, ["pause", "resume"])
        client.transport.unregisterProducer()

    async def test_pull_producer(self) -> None:
        """A pull producer (a file's sender, say) is asked again and again, although nothing is ever queued."""
        server, client = await self.pair()
        pulled = Pulled(client.transport, [b"one ", b"two ", b"three"])
        client.transport.registerProducer(pulled, False)
        await server.until(13)
        self.assertEqual(server.data, b"one two three")


class TwistedTests(SynchronousTestCase):
    """The names that are not public, as this Twisted has them."""

    def test_buffers(self) -> None:
        """What a transport has queued is in two buffers and an offset, and empty at first."""
        descriptor = abstract.FileDescriptor(reactor=object())  # type: ignore[arg-type]
        self.assertEqual((descriptor._tempDataBuffer, descriptor._tempDataLen), ([], 0))
        self.assertEqual((descriptor.dataBuffer, descriptor.offset), (b"", 0))

    def test_states(self) -> None:
        """Whether a connection is open, ending, aborted or under TLS is read off these, false at first."""
        for name in ("connected", "disconnecting", "_writeDisconnected", "_aborting", "TLS", "streamingProducer"):
            self.assertFalse(getattr(tcp.Connection, name), name)
        self.assertIsNone(tcp.Connection.producer)

    def test_methods(self) -> None:
        """What is overridden takes what ours take."""
        for name, parameters in (("doRead", ["self"]), ("write", ["self", "x"]), ("writeSequence", ["self", "x"])):
            found = list(inspect.signature(getattr(tcp.Connection, name)).parameters)
            self.assertEqual(len(found), len(parameters), name)

    def test_instances(self) -> None:
        """Instances keep all in a dictionary, so that their class can be changed."""
        for cls in (tcp.Server, tcp.Client):
            self.assertNotIn("__slots__", vars(cls))
