"""Two connections made into one."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from spaceswarm_proxy.commands.splice import End, Splice, ready
from spaceswarm_proxy.errors import ConnectCancelledError, PeerUnreachableError, StreamResetError
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network.pipe import pipe
from tests.network.support import HalfCloseRecorder, Source

HERE = PeerAddress(Peer.at("here.example", 1))
THERE = PeerAddress(Peer.at("there.example", 1))
#: Bytes that an end takes before it is full.
WINDOW = 10_000


class _WebSocket(StringTransport):
    """A transport that knows no half-closed connections."""

    loseWriteConnection = None


@implementer(ISSLTransport)
class _TLS(StringTransport):
    """One that does, of which one must not make use."""

    kept_alive = False

    def loseWriteConnection(self) -> None:
        raise AssertionError("this would end the TCP connection below")

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.kept_alive = enabled


class SpliceTests(SynchronousTestCase):
    """Two users with the two connections between them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.caller, self.callee = HalfCloseRecorder(), HalfCloseRecorder()
        self.dialling: Deferred[IProtocol] = Deferred(lambda waiting: waiting.errback(ConnectCancelledError()))
        self.factory: Any = None
        self.opened: list[End] = []
        self.over: list[Splice] = []
        self.splice = Splice(self.dial, lambda splice, end: self.opened.append(end), self.over.append)
        self.connect(self.caller, self.splice.came)

    def dial(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        self.factory = factory
        return self.dialling

    def connect(self, user: HalfCloseRecorder, end: Any) -> None:
        near, far = pipe(self.clock, HERE, THERE, window=WINDOW)
        near.attach(user)
        far.attach(end)

    def answer(self) -> None:
        """The second connection comes about."""
        end = self.factory.buildProtocol(None)
        self.connect(self.callee, end)
        self.dialling.callback(end)
        self.settle()

    def settle(self) -> None:
        while self.clock.getDelayedCalls():
            self.clock.advance(0)

    def assert_over(self, problem: type[Exception] | None = None) -> None:
        self.settle()
        self.assertEqual([self.splice], self.over)
        self.assertIs(problem, None if self.splice.problem is None else type(self.splice.problem))

    def test_carries(self) -> None:
        """What one user writes the other reads, both ways, and what was written before both were there."""
        self.caller.transport.write(b"early ")
        self.answer()
        self.caller.transport.write(b"late")
        self.callee.transport.write(b"answer")
        self.settle()
        self.assertEqual((b"early late", b"answer"), (self.callee.received, self.caller.received))
        self.assertEqual([self.splice.came, self.splice.made], self.opened)

    def test_half_close(self) -> None:
        """The end of one direction is that direction's alone; when both have ended, it is over, and well."""
        self.answer()
        self.caller.transport.write(b"question")
        self.caller.transport.loseWriteConnection()
        self.settle()
        self.assertTrue(self.callee.read_lost)
        self.assertFalse(self.caller.read_lost)
        self.callee.transport.write(b"answer")
        self.callee.transport.loseWriteConnection()
        self.assert_over()
        self.assertEqual(b"answer", self.caller.received)
        self.assertTrue(self.caller.clean and self.callee.clean)

    def test_without_half_close(self) -> None:
        """Where the end of one direction cannot be told by itself, both end; what was written before arrives."""
        for kind in (_WebSocket, _TLS):
            transport: Any = kind()
            splice = Splice(self.dial, lambda *_: None, lambda _: None)
            end = splice.came
            end.makeConnection(transport)
            transport.registerProducer(end.other, True)
            transport.write(b"all")
            end.end_writing()
            self.assertEqual((b"all", True), (transport.value(), transport.disconnecting))
            # The far end may take its leave of that without a word.
            end.connectionLost(Failure(ConnectionLost()))
            self.assertIsNone(splice.problem)

    def test_keep_alive(self) -> None:
        """A TCP connection whose far end is gone without a word is noticed."""
        transport: Any = _TLS()
        Splice(self.dial, lambda *_: None, lambda _: None).came.makeConnection(transport)
        self.assertTrue(transport.kept_alive)

    def test_early_end(self) -> None:
        """Who has said everything before the other is there is heard all the same."""
        self.caller.transport.write(b"question")
        self.caller.transport.loseWriteConnection()
        self.settle()
        self.assertEqual([], self.over)
        self.answer()
        self.assertEqual((b"question", True), (self.callee.received, self.callee.read_lost))

    def test_slow_reader(self) -> None:
        """Who does not read slows the other down, in either direction, and gets everything in the end."""
        self.answer()
        for writer, reader in ((self.caller, self.callee), (self.callee, self.caller)):
            reader.transport.pauseProducing()
            source = Source(writer.transport, bytes(1_000_000))
            self.settle()
            self.assertTrue(source.paused)
            self.assertLess(source.written, 20 * WINDOW)
            reader.transport.resumeProducing()
            self.settle()
            self.assertEqual(1_000_000, len(reader.received))

    def test_failure(self) -> None:
        """A connection that fails takes the other with it."""
        self.answer()
        self.callee.transport.abortConnection()
        self.assert_over(StreamResetError)
        assert self.caller.lost is not None
        self.assertTrue(self.caller.lost.check(StreamResetError))

    def test_enough(self) -> None:
        """Who has said everything, and does not want the rest, takes nothing from the other that is on its way."""
        self.answer()
        self.caller.transport.pauseProducing()
        self.callee.transport.write(bytes(WINDOW))
        self.callee.transport.loseWriteConnection()
        self.settle()
        self.callee.transport.abortConnection()
        self.settle()
        self.caller.transport.resumeProducing()
        self.assert_over()
        self.assertEqual((WINDOW, True), (len(self.caller.received), self.caller.clean))

    def test_closed(self) -> None:
        """A connection that its user closes is over in good order for the other too."""
        self.answer()
        self.caller.transport.write(b"all")
        self.caller.transport.loseConnection()
        self.settle()
        self.assertEqual((b"all", True), (self.callee.received, self.callee.read_lost))
        self.callee.transport.loseConnection()
        self.assert_over()

    def test_not_made(self) -> None:
        """When the second does not come about, the first is ended, with an error."""
        self.dialling.errback(PeerUnreachableError("no"))
        self.assert_over(PeerUnreachableError)
        self.assertFalse(self.caller.clean)

    def test_given_up(self) -> None:
        """When the first is lost meanwhile, the second is not made."""
        self.caller.transport.abortConnection()
        self.assert_over(StreamResetError)
        self.assertTrue(self.dialling.called)

    def test_aborted(self) -> None:
        """Both are ended on request; also when there is only one."""
        self.answer()
        self.splice.abort()
        self.settle()
        self.assertEqual([self.splice], self.over)
        self.assertFalse(self.caller.clean or self.callee.clean)

    def test_aborted_early(self) -> None:
        """The same before there is a second."""
        self.splice.abort()
        self.settle()
        self.assertEqual([self.splice], self.over)

    def test_ready(self) -> None:
        """A factory of what is there gives that."""
        self.assertIs(self.caller, ready(self.caller).buildProtocol(None))  # type: ignore[arg-type]
