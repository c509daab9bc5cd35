"""The stream between ``send`` and ``receive``: messages and a file's bytes, each when somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.codec.frames import HEAD, FrameReader, encode_frame
from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.file_messages import MAX_MESSAGE
from spaceswarm_proxy.errors import MessageError, StreamError

#: Bytes of a file that are read, and written to the stream, at a time.
PIECE = 64 * 1024
#: Seconds that the far end has to close the stream, when all is said.
LINGERING = 5.0

#: Is given what has come; returns what is wanted, as soon as it is complete, and how many of the bytes belong to it.
Take = Callable[[bytes], tuple[Any, int]]


@implementer(IPushProducer)
class FileStream(Protocol):
    """
    One end.  What has come with something else is kept for the next who waits; more than a message is refused then.

    One Deferred is waited for at a time.  It fails with ``StreamError`` when the stream is lost, with
    ``ProtocolError`` when what has come cannot be, and with whatever a callback of its user's has raised.
    """

    transport: Any

    def __init__(self, connected: Callable[[FileStream], object] | None = None) -> None:
        """:param connected: called with this when the stream is open."""
        self._connected = connected
        self._reader = FrameReader(MAX_MESSAGE)
        self._held = b""
        self._take: Take | None = None
        self._waiting: Deferred[Any] | None = None
        self._problem: Exception | None = None
        self._over: Waiters[None] = Waiters()
        # The file that is being sent, how much of it is still to be, and who is told.
        self._file: BinaryIO | None = None
        self._left = 0
        self._sent: Callable[[int], None] = _nobody
        self._paused = False
        self._writing = False

    @property
    def remote_key(self) -> str:
        """The peer's public key, in hex."""
        key: str = self.transport.getPeer().public_key.hex()
        return key

    def check(self) -> None:
        """:raises StreamError: the stream is lost."""
        if self._problem is not None:
            raise self._problem

    # What is said, and heard.

    def say(self, message: bytes) -> None:
        """Send a message."""
        self.transport.write(encode_frame(message))

    def message(self) -> Deferred[bytes]:
        """:returns: a Deferred of the next message."""
        return self._receive(self._reader.take)

    def receive(self, count: int, write: Callable[[bytes], None]) -> Deferred[None]:
        """
        Take a file's bytes.

        :param count: how many.
        :param write: called with them, in pieces; the peer waits for it.
        :returns: a Deferred that fires when all have come.
        """

        def take(data: bytes) -> tuple[bool | None, int]:
            nonlocal count
            piece = data[:count]
            write(piece)
            count -= len(piece)
            return None if count else True, len(piece)

        return self._receive(take)

    def send(self, file: BinaryIO, count: int, sent: Callable[[int], None]) -> Deferred[None]:
        """
        Send a file's bytes, as fast as the peer takes them.

        :param file: is read from where it stands.
        :param count: how many.
        :param sent: told of each piece: its length.
        :returns: a Deferred that fires when all are written; it fails with ``CommandError`` if the file has fewer.
        """
        waiting = self._wait()
        if self._problem is not None:
            self._fail(self._problem)
        else:
            self._file, self._left, self._sent = file, count, sent
            self.transport.registerProducer(self, True)
            self.resumeProducing()
        return waiting

    async def finish(self, reactor: Any) -> None:
        """All is said: close the stream, and wait a little for the peer to do so too."""
        self.transport.loseConnection()
        if self._problem is None:
            closing = reactor.callLater(LINGERING, self.transport.abortConnection)
            try:
                await self._over.wait()
            finally:
                if closing.active():
                    closing.cancel()

    def abort(self) -> None:
        """End the stream, if it is not over, with an error for the peer."""
        if self._problem is None:
            self.transport.abortConnection()

    def _wait(self) -> Deferred[Any]:
        assert self._waiting is None
        waiting: Deferred[Any] = Deferred(self._forget)
        self._waiting = waiting
        return waiting

    def _forget(self, _: Deferred[Any]) -> None:
        self._waiting = self._take = None
        self._end_sending()

    def _receive(self, take: Take) -> Deferred[Any]:
        self._take = take
        waiting = self._wait()
        self._look()
        if self._waiting is waiting and self._problem is not None:
            self._fail(self._problem)
        return waiting

    def _look(self) -> None:
        """Give what is held to who waits for it; also when it is nothing, which may be all that is wanted."""
        if self._take is None:
            return
        try:
            value, used = self._take(self._held)
        except Exception as problem:
            self._fail(problem)
            return
        self._held = self._held[used:]
        if value is not None:
            self._succeed(value)

    def _succeed(self, value: Any) -> None:
        waiting, self._waiting, self._take = self._waiting, None, None
        if waiting is not None:
            waiting.callback(value)

    def _fail(self, problem: Exception) -> None:
        waiting, self._waiting, self._take = self._waiting, None, None
        self._end_sending()
        if waiting is not None:
            waiting.errback(problem)

    # IPushProducer, for the transport: the file.

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if not self._writing:
            self._writing = True
            try:
                self._send_some()
            except (CommandError, OSError) as problem:
                self._fail(problem if isinstance(problem, CommandError) else CommandError(f"cannot read: {problem}"))
            finally:
                self._writing = False

    def stopProducing(self) -> None:
        """The stream is lost, of which we hear by itself."""
        self._paused = True

    def _send_some(self) -> None:
        while self._file is not None and self._left and not self._paused:
            piece = self._file.read(min(PIECE, self._left))
            if not piece:
                raise CommandError("the file has become shorter")
            self._left -= len(piece)
            self.transport.write(piece)
            self._sent(len(piece))
        if self._file is not None and not self._left:
            self._end_sending()
            self._succeed(None)

    def _end_sending(self) -> None:
        if self._file is not None:
            self._file = None
            self.transport.unregisterProducer()

    # What Twisted calls.

    def connectionMade(self) -> None:
        if self._connected is not None:
            self._connected(self)

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        self._look()
        if len(self._held) > HEAD + MAX_MESSAGE:
            self._held = b""
            self._fail(MessageError("nobody-asked"))
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        early = StreamError("the peer ended the stream before the file was through")
        self._problem = reason.value if isinstance(reason.value, StreamError) else early
        self._fail(self._problem)
        self._over.fire(None)


def _nobody(count: int) -> None:
    """Nobody is told."""
