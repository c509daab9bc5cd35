"""
Twisted's TCP transports, made cheaper for a relay.

A relay writes small and large pieces as they come, and Twisted's transport answers each by asking the reactor to
call it back when the socket is writable: three system calls where one would do.  :func:`accelerate` turns a
connected transport of Twisted's into one of ours, in place, so that any endpoint and any reactor will do.  Ours

* sends at once while nothing is queued (what the kernel does not take is queued as ever),
* hands several pieces to the kernel in one call, without joining them first,
* reads more at once while there is more.

It leans on a few private names of Twisted's (``tests/test_tcp.py`` holds them fast); all else, TLS and UNIX sockets
included, keeps the transport that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

from twisted.internet import main, tcp
from twisted.python.failure import Failure

#: Bytes for one read: at first, and each followed by the one to try when it came back full.
SMALL = 4 * 1024
READ_SIZES = {SMALL: 64 * 1024, 64 * 1024: 256 * 1024, 256 * 1024: 256 * 1024}
#: On a link, a smaller write that follows the last one closely waits for the end of the reactor's turn, to be sent
#: together with others of that turn: so many bytes, so many seconds.
SEND_AT_ONCE = 16 * 1024
CLOSELY = 50e-6
#: The most pieces that one call of the kernel's takes (IOV_MAX is 1,024 on Linux).
MAX_PIECES = 512


_DONE = Failure(main.CONNECTION_DONE)


class Accelerated(tcp.Connection):
    """What both kinds of transport have in common; only methods, so that ``__class__`` may be changed to it."""

    #: It takes a sequence of pieces without joining them.
    gathers = True
    # ``close`` says all that ``shutdown`` would: the file descriptor is nobody else's.
    _shouldShutdown = False
    _read_size = SMALL
    #: Is no write to be sent together with others of its turn?
    every_write_alone = False

    def doRead(self) -> Any:
        size = self._read_size
        try:
            data = self.socket.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        if len(data) == size:
            self._read_size = READ_SIZES[size]
        elif len(data) < SMALL:
            self._read_size = SMALL
        self.protocol.dataReceived(data)
        return None

    def stands_alone(self, size: int) -> bool:
        """Is a write of so many bytes to be sent at once, rather than with others of this turn?"""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        if self._tempDataLen and self.connected and not (self.TLS or self._writeDisconnected):
            self._wait(data)
            return
        if self._may_send_now() and (self.every_write_alone or self.stands_alone(len(data))):
            if not self.connected or self._writeDisconnected:
                return
            try:
                sent = self.socket.send(data)
            except OSError:  # a full buffer, or an error that the next attempt will meet and report
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        tcp.Connection.write(self, data)

    def _wait(self, data: bytes) -> None:
        """Add to what waits for the end of the turn, or for the kernel: ``write`` of Twisted's, less what is known."""
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)
        if self.producer is not None and self.streamingProducer and not self.producerPaused:
            self._maybePauseProducer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        pieces = list(iovec)
        if self._may_send_now() and self.connected and not self._writeDisconnected:
            pieces = self._gather(pieces)
        tcp.Connection.writeSequence(self, pieces)

    def close_now(self) -> None:
        """
        The same as ``loseConnection``; but if nothing is left to be written, there and then: the protocol is told from
        inside this call.
        """
        if self.connected and self.producer is None and not self._writeDisconnecting and self._may_send_now():
            self.disconnecting = 1
            self.connectionLost(_DONE)
        else:
            self.loseConnection()

    def _gather(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Send what the kernel takes.  :returns: the rest."""
        try:
            sent = self.socket.sendmsg(pieces[:MAX_PIECES])
        except OSError:
            return list(pieces)
        for index, piece in enumerate(pieces):
            if sent < len(piece):
                return [piece[sent:], *pieces[index + 1 :]]
            sent -= len(piece)
        return []

    def _may_send_now(self) -> bool:
        """Is nothing queued or ending, no TLS in between, and no pull producer to be asked for more afterwards?"""
        return (
            not self._tempDataLen
            and self.offset == len(self.dataBuffer)
            and not self.disconnecting
            and not self._aborting
            and not self.TLS
            and (self.producer is None or self.streamingProducer)
        )


class _Server(Accelerated, tcp.Server):
    """An accepted connection: a link, where many streams' messages of one turn go well together."""

    _last_write = 0.0

    def stands_alone(self, size: int) -> bool:
        last, self._last_write = self._last_write, perf_counter()
        return size >= SEND_AT_ONCE or self._last_write - last > CLOSELY


class _Client(Accelerated, tcp.Client):
    """A connection that we made: a peer's, whose every message stands alone."""

    every_write_alone = True


def accelerate(transport: Any) -> None:
    """Make a connected TCP transport of Twisted's faster, in place; any other is left as it is."""
    if type(transport) is tcp.Server:
        transport.__class__ = _Server
    elif type(transport) is tcp.Client:
        transport.__class__ = _Client
    else:
        return
    transport.setTcpNoDelay(True)
