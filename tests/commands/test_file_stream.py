"""The stream between ``send`` and ``receive``."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.frames import encode_frame
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.file_messages import MAX_MESSAGE
from spaceswarm_proxy.commands.file_stream import LINGERING, PIECE, FileStream
from spaceswarm_proxy.errors import FrameError, MessageError, StreamError, StreamResetError
from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network.pipe import pipe
from tests.network.support import HalfCloseRecorder

HERE = PeerAddress(Peer.at("here.example", 1))
THERE = PeerAddress(Peer.at("there.example", 1))
WINDOW = 100_000


class FileStreamTests(SynchronousTestCase):
    """One end, with the test, or another one, at the other."""

    def setUp(self) -> None:
        self.connect(HalfCloseRecorder())

    def connect(self, peer: Any) -> None:
        self.clock = Clock()
        self.stream, self.peer = FileStream(), peer
        near, far = pipe(self.clock, HERE, THERE, window=WINDOW)
        near.attach(self.stream)
        far.attach(peer)

    def settle(self) -> None:
        for _ in range(1000):
            self.clock.advance(0)

    def hear(self, data: bytes) -> None:
        self.peer.transport.write(data)
        self.settle()

    def test_messages(self) -> None:
        """Each is given to who waits for it, one after the other, also when they come at once."""
        self.stream.say(b"hello")
        first = self.stream.message()
        self.hear(encode_frame(b"one") + encode_frame(b"two"))
        self.assertEqual(b"one", self.successResultOf(first))
        self.assertEqual(b"two", self.successResultOf(self.stream.message()))
        self.assertEqual(encode_frame(b"hello"), self.peer.received)

    @settings(deadline=None, max_examples=30)
    @given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1))
    def test_cut_anywhere(self, content: bytes, cuts: list[int]) -> None:
        """However the bytes are cut, message, file and message come apart."""
        self.setUp()
        data = encode_frame(b"one") + content + encode_frame(b"two")
        written: list[bytes] = []

        async def listen() -> tuple[bytes, bytes]:
            one = await self.stream.message()
            await self.stream.receive(len(content), written.append)
            return one, await self.stream.message()

        listening = Deferred.fromCoroutine(listen())
        while data:
            for cut in cuts:
                self.stream.dataReceived(data[:cut])
                data = data[cut:]
        self.assertEqual((b"one", b"two"), self.successResultOf(listening))
        self.assertEqual(content, b"".join(written))

    def test_file(self) -> None:
        """A file goes from one end to the other, and no more of it than was said."""
        other = FileStream()
        self.connect(other)
        content = bytes(range(256)) * 4000
        written = bytearray()
        sent: list[int] = []
        sending = self.stream.send(io.BytesIO(content + b"more"), len(content), sent.append)
        receiving = other.receive(len(content), written.extend)
        self.settle()
        self.successResultOf(sending)
        self.successResultOf(receiving)
        self.assertEqual((len(content), True), (sum(sent), content == written))

    def test_slow_reader(self) -> None:
        """A peer that does not read stops the reading of the file; what is in memory stays small."""
        self.peer.transport.pauseProducing()
        file = io.BytesIO(bytes(10_000_000))
        sending = self.stream.send(file, 10_000_000, lambda count: None)
        self.settle()
        self.assertNoResult(sending)
        self.assertLess(file.tell(), 4 * WINDOW + 2 * PIECE)
        self.peer.transport.resumeProducing()
        self.settle()
        self.successResultOf(sending)
        self.assertEqual(10_000_000, len(self.peer.received))

    def test_shorter(self) -> None:
        """A file that has become shorter is an error."""
        sending = self.stream.send(io.BytesIO(b"12345"), 6, lambda count: None)
        self.failureResultOf(sending, CommandError)

    def test_unreadable(self) -> None:
        """So is one that cannot be read any more."""

        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise OSError("it is broken")

        problem = self.failureResultOf(self.stream.send(Broken(), 6, lambda count: None), CommandError).value
        self.assertEqual("cannot read: it is broken", str(problem))

    def test_unwritable(self) -> None:
        """What the writer of the file raises is what the receiver gets."""

        def write(data: bytes) -> None:
            if data:
                raise CommandError("no room")

        receiving = self.stream.receive(10, write)
        self.hear(b"12345")
        self.failureResultOf(receiving, CommandError)

    def test_too_long(self) -> None:
        """A message over the limit is refused before it is there."""
        waiting = self.stream.message()
        self.hear(encode_frame(bytes(MAX_MESSAGE + 1))[:10])
        self.failureResultOf(waiting, FrameError)

    def test_nobody_asked(self) -> None:
        """A peer that talks without being asked is cut off, also while a file is sent to it."""
        self.peer.transport.pauseProducing()
        sending = self.stream.send(io.BytesIO(bytes(1_000_000)), 1_000_000, lambda count: None)
        self.hear(bytes(MAX_MESSAGE + 4))
        self.failureResultOf(sending, MessageError)
        self.peer.transport.resumeProducing()
        self.settle()
        self.assertFalse(self.peer.clean)

    def test_lost(self) -> None:
        """A stream that is lost fails whatever is waited for, then and later."""
        waiting = self.stream.message()
        self.peer.transport.abortConnection()
        self.settle()
        self.failureResultOf(waiting, StreamResetError)
        self.failureResultOf(self.stream.message(), StreamResetError)
        self.failureResultOf(self.stream.send(io.BytesIO(b"x"), 1, lambda count: None), StreamResetError)
        self.assertRaises(StreamResetError, self.stream.check)

    def test_closed_early(self) -> None:
        """So does one that the peer has closed in good order; what came before is heard."""
        self.peer.transport.write(encode_frame(b"bye"))
        self.peer.transport.loseConnection()
        self.settle()
        self.assertEqual(b"bye", self.successResultOf(self.stream.message()))
        self.failureResultOf(self.stream.message(), StreamError)

    def test_cancelled(self) -> None:
        """Who does not want to wait any longer leaves nothing behind."""
        waiting = self.stream.message()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.peer.transport.pauseProducing()
        sending = self.stream.send(io.BytesIO(bytes(1_000_000)), 1_000_000, lambda count: None)
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.stream.abort()
        self.settle()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_finish(self) -> None:
        """In the end it waits for the stream to be over, but not for long."""
        for closes in (True, False):
            stream, transport, clock = FileStream(), StringTransport(), Clock()
            stream.makeConnection(transport)
            finishing = Deferred.fromCoroutine(stream.finish(clock))
            self.assertNoResult(finishing)
            if not closes:
                clock.advance(LINGERING)
            self.assertEqual((True, not closes), (transport.disconnecting, transport.disconnected))
            stream.connectionLost(Failure(ConnectionDone()))
            self.successResultOf(finishing)
            self.assertEqual([], clock.getDelayedCalls())
