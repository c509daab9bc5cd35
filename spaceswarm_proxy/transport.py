"""
The transport of every stream that we hand to users, whatever carries it.

:class:`StreamTransport` stands between a user's protocol and whoever moves the bytes (the *owner*: a pipe in this
process, a stream of a proxy link, a UDX stream).  It owns the bookkeeping that all of them need, so that an owner
has only to move bytes.  Towards the protocol it behaves as Twisted's TCP transport does.

**Down**, from the owner to the protocol: the owner reports what happened (:meth:`~StreamTransport.data_arrived`,
:meth:`~StreamTransport.end_arrived`, :meth:`~StreamTransport.connection_ended`), in the order in which it did.
What the protocol is owed is worked out anew before each call to it (``_next_step``), because each call may change it::

    1  a reset, or an abort of our own          connectionLost          (what is held was thrown away)
    2  loseWriteConnection has taken effect     writeConnectionLost
    3  data is held, and not paused             dataReceived            (pieces of it, joined where they are small)
    4  no data is held, and the far end ended   readConnectionLost, or loseConnection
    5  no data is held, and all is over         connectionLost

The protocol is never called from inside a call of its own: what comes up meanwhile follows when that has returned, or
in the next turn of the reactor (:meth:`~StreamTransport._call_soon`).

**Up**, from the protocol to the owner: writes go straight to ``_send``.  The owner says when it is full
(:meth:`~StreamTransport.sender_paused`); then the registered producer is stopped.  Each end is sent once::

    loseWriteConnection            _send_end, when no producer is registered any more
    loseConnection                 _finish, when no producer is registered any more
    both directions have ended     _finish
    abortConnection, abort         _abort, at once, also after the others

Invariants: nothing is sent after ``_send_end``, ``_finish`` or ``_abort``; nothing is delivered after
``loseConnection``; ``connectionLost`` is called exactly once, last.  Whatever the protocol raises ends this stream and
no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence
from typing import Any

import txaio
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import StreamAbortedError
from spaceswarm_proxy.interfaces import IByteCounts

log = txaio.make_logger()

#: Bytes from which on a protocol is given what has come, and the rest by itself: joining more costs more than a call.
_JOINED = 32 * 1024
#: How often a pull producer is asked in one turn: what it writes leaves together.
_PULLS = 8


@implementer(ITCPTransport, IPushProducer, IConsumer, IByteCounts)
class StreamTransport:
    """
    A stream's transport; subclass it with the hooks at the end.

    It is slotted and makes its buffers when they are needed: an idle one takes some 250 bytes.
    """

    __slots__ = (
        "_busy",
        "_deaf",
        "_end_arrived",
        "_end_told",
        "_finished",
        "_full",
        "_half_closing",
        "_held",
        "_host",
        "_over",
        "_owed",
        "_paused",
        "_peer",
        "_producer",
        "_reason",
        "_soon",
        "_streaming",
        "_write_closed",
        "_write_loss_due",
        "bytes_read",
        "bytes_written",
        "connected",
        "disconnecting",
        "protocol",
    )

    def __init__(self, host: IAddress, peer: IAddress) -> None:
        """
        :param host: what ``getHost`` answers: our own :class:`~spaceswarm_proxy.interfaces.PeerAddress`.
        :param peer: what ``getPeer`` answers.
        """
        self._host = host
        self._peer = peer
        #: As on Twisted's transports: the stream is up, and ``loseConnection`` was called.
        self.connected = True
        self.disconnecting = False
        #: Who is connected; ``None`` before :meth:`attach` and after its ``connectionLost``.
        self.protocol: IProtocol | None = None
        self.bytes_read = 0
        self.bytes_written = 0
        # What arrived and was not delivered yet, and what was delivered for which ``_consumed`` was not called yet.
        self._held: MutableSequence[bytes] | None = None
        self._owed = 0
        self._paused = False
        # Is the protocol to get no more data (it gave up reading)?
        self._deaf = False
        self._end_arrived = False
        self._end_told = False
        # Why the stream is over, once it is; and whether the protocol knows.
        self._reason: Failure | None = None
        self._over = False
        self._producer: Any = None
        self._streaming = False
        # Has the owner said that it is full?
        self._full = False
        self._half_closing = False
        self._write_closed = False
        self._write_loss_due = False
        self._finished = False
        # Is a call to the protocol or a hook under way?  And the call that will look after what comes up meanwhile.
        self._busy = False
        self._soon: IDelayedCall | None = None

    # For the owner: what happens to the stream.

    def attach(self, protocol: IProtocol) -> None:
        """Connect the user's protocol, and deliver what already waits for it."""
        self.protocol = protocol
        self._tell(protocol.makeConnection, self)
        self._wake()

    def data_arrived(self, chunks: Iterable[bytes]) -> None:
        """
        Deliver what the far end sent, or hold it while the protocol is not reading.

        How much that can be is the owner's business: it counts what it gave, less what ``_consumed`` gave back.
        """
        if self._end_arrived or self._reason is not None:
            return
        if self._held is None:
            self._held = list(chunks)
        else:
            self._held.extend(chunks)
        if self._deaf:
            self._drop_held()
        else:
            self._wake()

    def end_arrived(self) -> None:
        """The far end sends nothing more; it may still read."""
        self._end_arrived = True
        self._wake()

    def connection_ended(self, reason: Failure) -> None:
        """
        The stream is over; a second call is ignored.

        :param reason: of ``ConnectionDone`` when all was in good order: then what is held is read first.  Any other
            throws it away.
        """
        if self._reason is not None:
            return
        self._set_over(reason)
        if not reason.check(ConnectionDone):
            self._stop_reading()
        self._wake()

    def sender_paused(self) -> None:
        """The owner can take no more for now (what it is given all the same, it keeps)."""
        if self._full:
            return
        self._full = True
        if self._producer is not None and self._streaming:
            self._tell(self._producer.pauseProducing)

    def sender_resumed(self) -> None:
        """The owner takes data again."""
        if not self._full:
            return
        self._full = False
        if self._producer is not None:
            self._tell(self._producer.resumeProducing)

    def abort(self, error: Exception) -> None:
        """
        End the stream at once, in both directions; what was not sent or read yet is lost.

        :param error: what ``connectionLost`` is given, and the far end told if possible; a ``StreamError`` as a rule.
        """
        if self._over:
            return
        was_up = self._reason is None
        if was_up or self._held:
            self._set_over(Failure(error))
        self._stop_reading()
        if was_up:
            self._hook(self._abort, error)
        self._wake_soon()

    # ITransport and ITCPTransport.

    def getPeer(self) -> Any:
        """The far end, a :class:`~spaceswarm_proxy.interfaces.PeerAddress`."""
        return self._peer

    def getHost(self) -> Any:
        """This end."""
        return self._host

    def write(self, data: bytes) -> None:
        """
        Send data.  After the end it is ignored, as Twisted's transports do.

        :raises TypeError: it is not ``bytes``.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if self._write_closed or not data:
            return
        self.bytes_written += len(data)
        self._hook(self._send, data)
        if self._producer is not None and not self._streaming:
            self._wake_soon()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send the pieces, as one."""
        self.write(b"".join(iovec))

    def loseConnection(self, _connDone: Failure | None = None) -> None:
        """
        End the stream when everything is written, and a registered producer is done.  Nothing more is delivered.
        """
        if self.disconnecting or self._over:
            return
        self.disconnecting = True
        self._stop_reading()
        if self._reason is None:
            self._end_writing()
        else:
            self._wake_soon()

    def loseWriteConnection(self) -> None:
        """End our direction when everything is written, and a registered producer is done; go on reading."""
        if not self._half_closing:
            self._half_closing = True
            self._end_writing()

    def abortConnection(self) -> None:
        """End the stream at once; ``connectionLost`` gets a :class:`~spaceswarm_proxy.errors.StreamAbortedError`."""
        self.abort(StreamAbortedError())

    def getTcpNoDelay(self) -> bool:
        """Nothing is ever delayed."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Accepted, and without effect."""

    def getTcpKeepAlive(self) -> bool:
        """Whoever carries the stream keeps it alive."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Accepted, and without effect."""

    # IConsumer.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let a producer write as fast as the owner takes it.

        :param producer: an ``IPushProducer`` if ``streaming``, else an ``IPullProducer``.
        :raises RuntimeError: there is one already.
        """
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer}: {self._producer} is registered already")
        if self._write_closed:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = bool(streaming)
        if streaming and self._full:
            producer.pauseProducing()
        elif not streaming and not self._full:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """The producer is done; an end that waited for it follows."""
        self._producer = None
        self._end_writing()

    # IPushProducer.

    def pauseProducing(self) -> None:
        """Deliver nothing until ``resumeProducing``; the far end is slowed down once its window is used up."""
        if self._paused:
            return
        self._paused = True
        if self._reason is None:
            self._hook(self._reading_changed, True)

    def resumeProducing(self) -> None:
        """Deliver again; what was held comes in the next turn of the reactor, never from inside this call."""
        if not self._paused:
            return
        self._paused = False
        if self._reason is None:
            self._hook(self._reading_changed, False)
            self._repay()
        if self._next_step() is not None:
            self._wake_soon()

    def stopProducing(self) -> None:
        """The same as ``loseConnection``."""
        self.loseConnection()

    # Down: what the protocol is owed.

    def _wake(self) -> None:
        """Give the protocol all that it is owed."""
        if self._busy:
            self._wake_soon()
            return
        while (step := self._next_step()) is not None:
            step()

    def _wake_soon(self) -> None:
        if self._soon is None and self.protocol is not None:
            self._soon = self._call_soon(self._woken)

    def _woken(self) -> None:
        self._soon = None
        self._pull()
        self._wake()

    def _next_step(self) -> Callable[[], None] | None:
        """What is due now (the table above), or ``None``."""
        if self._over or self.protocol is None:
            return None
        if self._write_loss_due and self._reason is None:
            return self._tell_write_end
        if self._held:
            return None if self._paused else self._deliver
        if self._end_arrived and not (self._end_told or self._deaf) and not (self._paused and self._reason is None):
            return self._tell_end
        return None if self._reason is None else self._tell_lost

    def _deliver(self) -> None:
        data = self._take_held()
        if not data:
            return
        assert self.protocol is not None  # _next_step saw it
        self.bytes_read += len(data)
        self._tell(self.protocol.dataReceived, data)
        if self._reason is not None:
            return
        self._owed += len(data)
        if not self._paused or self._deaf:
            self._repay()

    def _take_held(self) -> bytes:
        """:returns: what the protocol is given next of what is held: joined as far as that costs little."""
        held = self._held
        assert held  # _next_step saw it
        if len(held) == 1:
            self._held = None
            return held[0]
        count = length = 0
        while count < len(held) and length < _JOINED:
            length += len(held[count])
            count += 1
        taken = held[:count]
        self._held = held[count:] or None
        return taken[0] if count == 1 else b"".join(taken)

    def _repay(self) -> None:
        owed, self._owed = self._owed, 0
        if owed and self._reason is None:
            self._hook(self._consumed, owed)

    def _tell_end(self) -> None:
        self._end_told = True
        half_closeable: Any = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is None:
            if self._producer is self or self._producer is self.protocol:
                # It has nothing to write any more, or learns of the end by connectionLost only.
                self._stop_producer()
            self.loseConnection()
            return
        self._tell(half_closeable.readConnectionLost)
        if self._write_closed:
            self._finish_once()

    def _tell_write_end(self) -> None:
        self._write_loss_due = False
        half_closeable: Any = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is not None:
            self._tell(half_closeable.writeConnectionLost)

    def _tell_lost(self) -> None:
        self._over = True
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        protocol, self.protocol = self.protocol, None
        assert protocol is not None  # _next_step saw it
        self._tell(protocol.connectionLost, self._reason)
        self._disconnected()

    def _tell(self, method: Callable[..., object], *args: object) -> None:
        """Call the user's code.  What it raises ends this stream, and no more than that."""
        busy, self._busy = self._busy, True
        try:
            method(*args)
        except Exception:
            log.failure("{method} failed, its stream with {peer} is aborted", method=method, peer=self._peer)
            self.abort(StreamAbortedError("the protocol failed"))
        finally:
            self._busy = busy

    def _hook(self, hook: Callable[..., None], *args: Any) -> None:
        """Call the owner.  It may report at once what comes of it; the protocol learns of that later."""
        busy, self._busy = self._busy, True
        try:
            hook(*args)
        finally:
            self._busy = busy

    def _stop_reading(self) -> None:
        self._deaf = True
        self._drop_held()

    def _drop_held(self) -> None:
        """Throw away what is held; to the far end it counts as read, so that it can get to its end."""
        if self._held:
            self._owed += sum(map(len, self._held))
            self._held = None
        self._repay()

    # Up: how our direction ends.

    def _pull(self) -> None:
        """Ask a pull producer for more, until it or the owner has enough; one that writes later is asked again then."""
        for _ in range(_PULLS):
            if self._producer is None or self._streaming or self._full:
                return
            before = self.bytes_written
            self._tell(self._producer.resumeProducing)
            if self.bytes_written == before:
                return

    def _end_writing(self) -> None:
        """Send the end that was asked for, unless the producer is still at it."""
        if self._producer is not None or self._reason is not None:
            return
        if self.disconnecting:
            self._finish_once()
        elif self._half_closing and not self._write_closed:
            self._write_closed = self._write_loss_due = True
            self._hook(self._send_end)
            self._wake_soon()
            if self._end_told:
                self._finish_once()

    def _finish_once(self) -> None:
        if not self._finished and self._reason is None:
            self._finished = self._write_closed = self.disconnecting = True
            self._hook(self._finish)

    def _set_over(self, reason: Failure) -> None:
        self._reason = reason
        self.connected = False
        self._write_closed = True
        self._stop_producer()

    def _stop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            self._tell(producer.stopProducing)

    # The hooks.  Each may answer at once (``sender_paused``, ``connection_ended``...).

    def _call_soon(self, function: Callable[[], None]) -> IDelayedCall:
        """Call the function in the next turn of the reactor: ``reactor.callLater(0, function)``."""
        raise NotImplementedError

    def _send(self, data: bytes) -> None:
        """Send data, or keep it until that is possible; never empty."""
        raise NotImplementedError

    def _send_end(self) -> None:
        """Our direction ends after what was given to ``_send``; the other goes on."""
        raise NotImplementedError

    def _finish(self) -> None:
        """
        Both directions are done with: end the stream after what was given to ``_send``.

        Then report ``connection_ended``.  It comes once, with or without a ``_send_end`` before.
        """
        raise NotImplementedError

    def _abort(self, error: Exception) -> None:
        """End the stream now, throw away what was not sent.  The protocol is told without the owner's doing."""
        raise NotImplementedError

    def _consumed(self, count: int) -> None:
        """``count`` bytes of what arrived have been used, and more is wanted: the far end may send as many more."""
        raise NotImplementedError

    def _reading_changed(self, paused: bool) -> None:
        """The protocol stopped or goes on reading.  ``_consumed`` is enough for most."""

    def _disconnected(self) -> None:
        """The protocol has been told that it is over: nothing more will be called, the owner may forget the stream."""
