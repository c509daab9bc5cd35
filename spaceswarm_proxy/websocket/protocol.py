"""
The Twisted protocol on the outer connection, between that, the ``websockets`` core and the user's protocol.

The state is the core's: ``CONNECTING`` until the opening is done, ``OPEN``, ``CLOSING`` once either side has sent a
close frame.  Two flows are kept apart.  *Inbound*, the user's transport pauses and resumes the outer connection's
reading.  *Outbound*, this protocol is the outer connection's producer for as long as that can be written to; it passes
the pauses on to the user's producer, and so knows itself when writing is blocked:

* a remote that pings and does not read is owed one pong, the last (:rfc:`6455` allows that), not a heap of them;
* the time limit for its close frame begins when everything before ours has been handed over;
* its silence is not held against it while it cannot be heard (we have paused reading) or asked (writing is blocked).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.protocol import CONNECTING, OPEN, SERVER, Event
from zope.interface import implementer

from spaceswarm_proxy.budget import Budget
from spaceswarm_proxy.errors import (
    ConnectError,
    ConnectTimeoutError,
    LimitError,
    LinkError,
    LinkLostError,
    LinkTimeoutError,
)
from spaceswarm_proxy.websocket.opening import Opening
from spaceswarm_proxy.websocket.timers import Deadline, Liveness
from spaceswarm_proxy.websocket.transport import WebSocketTransport

#: The longest message taken, and so the most that a remote can make us hold; JavaScript servers take as much.  A
#: JavaScript client makes one message of each application write, however long.
MAX_MESSAGE = 100 * 1024 * 1024
#: What all connections of a server may hold of unfinished messages.
MAX_HELD = 256 * 1024 * 1024
#: Larger writes are sent as several messages.
MAX_PAYLOAD = 64 * 1024

_GOOD_CLOSE = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD)
_PONG = 0x80 | Opcode.PONG


@dataclass(frozen=True, slots=True)
class Settings:
    """The limits of one WebSocket connection; sizes in bytes, times in seconds."""

    max_message: int = MAX_MESSAGE
    #: For the unfinished messages of all connections with these settings.
    budget: Budget = field(default_factory=lambda: Budget(MAX_HELD))
    #: Silence after which the remote is pinged; 0 never does.
    ping_interval: float = 30.0
    #: For a sign of life after that.
    ping_timeout: float = 30.0
    #: For the whole opening handshake.
    handshake_timeout: float = 15.0
    #: For the outer connection to take what was written before the close frame.
    drain_timeout: float = 60.0
    #: For the remote's close frame after that, and again for the outer connection to end.
    close_timeout: float = 10.0


@implementer(IPushProducer)
class WebSocketProtocol(Protocol):
    """
    One end, either, of a WebSocket.

    ``pauseProducing`` and ``resumeProducing`` are the outer connection's word on whether it can be written to.
    """

    transport: Any

    def __init__(self, opening: Opening, settings: Settings, clock: Any, build: Callable[[], IProtocol | None]) -> None:
        """
        :param clock: an ``IReactorTime``.
        :param build: makes the user's protocol; called when the WebSocket is open.
        """
        #: Fires with the user's protocol when that has been connected, or fails with a ``ConnectError``.
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._abort_outer())
        self._opening = opening
        self._core = opening.core
        self._settings = settings
        self._clock = clock
        self._build = build
        self._inner: IProtocol | None = None
        self._link: WebSocketTransport | None = None
        self._deadline = Deadline(clock)
        self._liveness = Liveness(clock, settings.ping_interval, settings.ping_timeout, self._ping, self._dead)
        self._error: Exception | None = None
        self._late_pong = b""
        self._registered = False
        self._blocked = False
        self._reading = True
        self._closing = False
        self._overdue = False
        self._held = 0

    # What the outer connection tells.

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        self._registered = True
        self._deadline.start(self._settings.handshake_timeout, self._opening_overdue)
        self._opening.start()
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        self._liveness.heard()
        if self._core.state is CONNECTING:
            data = self._open(data)
        if data:
            self._core.receive_data(data)
        self._deliver(self._core.events_received())
        self._flush()
        self._count_held()
        if self._core.close_expected():
            self._await_end()

    def _count_held(self) -> None:
        """The core keeps a frame until it is complete; keep count of that, with all the others'."""
        held = len(self._core.reader.buffer)
        if held != self._held:
            growth, self._held = held - self._held, held
            if not self._settings.budget.change(growth):
                self.abort(LimitError("max_held", self._settings.budget.limit))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._settings.budget.change(-self._held)
        self._held = 0
        self._deadline.stop()
        self._liveness.stop()
        refused = self._core.eof_sent
        if not refused:
            self._core.receive_eof()
        if self._link is not None and self._inner is not None:
            self._link.connection_lost()
            self._inner.connectionLost(self._reason_for_user(reason))
        if not self.opened.called:
            self.opened.errback(self._error or self._not_opened(reason, refused))

    def pauseProducing(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._liveness.excuse()
            if self._link is not None:
                self._link.writing_paused()

    def resumeProducing(self) -> None:
        if not self._blocked:
            return
        self._blocked = False
        self._liveness.expect()
        if self._late_pong:
            self.transport.write(self._late_pong)
            self._late_pong = b""
        if self._closing:
            self._deadline.start(self._settings.close_timeout, self._end_overdue)
        elif self._link is not None:
            self._link.writing_resumed()

    def stopProducing(self) -> None:
        """The outer connection is lost; ``connectionLost`` tells more."""

    # What the user's transport does.

    def send(self, data: bytes) -> None:
        """Send bytes, in as many messages as it takes; nothing once the closing has begun."""
        if self._core.state is not OPEN:
            return
        if len(data) <= MAX_PAYLOAD:
            self._core.send_binary(data)
        else:
            view = memoryview(data)
            for start in range(0, len(view), MAX_PAYLOAD):
                self._core.send_binary(view[start : start + MAX_PAYLOAD])
        self._flush()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Send a close frame, after all that was written, and wait for the remote's, within limits."""
        if self._core.state is OPEN:
            self._core.send_close(code, reason)
            self._flush()
            self._await_end()

    def abort(self, problem: Exception) -> None:
        """End the outer connection now; the user is told ``problem``."""
        self._error = problem
        self._abort_outer()

    def pause_reading(self) -> None:
        """Read no more for now; what has been read already is still delivered."""
        if self._reading and not self._closing:
            self._reading = False
            self._liveness.excuse()
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Undo :meth:`pause_reading`."""
        if not self._reading:
            self._reading = True
            self._liveness.expect()
            self.transport.resumeProducing()

    @property
    def writing_is_blocked(self) -> bool:
        """Is there no use in writing now?"""
        return self._blocked or self._closing

    # Opening.

    def _open(self, data: bytes) -> bytes:
        """Go on with the opening.  :returns: what came after it."""
        if self._core.eof_sent:  # refused; the remote has not taken notice yet
            return b""
        rest = self._opening.receive(data)
        if self._core.state is OPEN:
            self._connect_user()
        return rest

    def _connect_user(self) -> None:
        self._deadline.stop()
        self._liveness.start()
        self._flush()
        inner = self._build()
        if inner is None:
            self._error = error.NoProtocol()
            self.close(CloseCode.TRY_AGAIN_LATER)
            return
        self._inner = inner
        self._link = WebSocketTransport(self, self._opening.handshake(), self._clock)
        inner.makeConnection(self._link)
        self.opened.callback(inner)

    def _opening_overdue(self) -> None:
        self.abort(ConnectTimeoutError("the opening handshake of the WebSocket took too long"))

    def _not_opened(self, reason: Failure, refused: bool) -> ConnectError:
        answered = refused or reason.check(error.ConnectionDone)
        problem = ConnectError(
            f"the WebSocket did not open: {self._opening.refusal() if answered else reason.getErrorMessage()}"
        )
        problem.__cause__ = reason.value
        return problem

    # Both ways.

    def _deliver(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._link is None or self._inner is None or self._link.disconnecting:
                return
            if isinstance(event, Frame) and event.opcode in DATA_OPCODES and event.data:
                self._inner.dataReceived(bytes(event.data))

    def _flush(self) -> None:
        for chunk in self._core.data_to_send():
            if not chunk:
                self._end_writing()
            elif self._blocked and chunk[0] == _PONG:
                self._late_pong = chunk
            else:
                self.transport.write(chunk)

    def _ping(self) -> None:
        if self._core.state is OPEN:
            self._core.send_ping(b"")
            self._flush()

    def _dead(self) -> None:
        self.abort(LinkTimeoutError("the WebSocket's remote has been silent for too long"))

    # Ending.

    def _end_writing(self) -> None:
        """
        Shut down our direction, as the core wants it.

        A server's is shut down alone where that can be done: closing a socket that has unread data resets it, and the
        remote might then not see our last words.
        """
        self._unregister()
        half = ITCPTransport.providedBy(self.transport) and not ISSLTransport.providedBy(self.transport)
        if half and self._core.side is SERVER:
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _await_end(self) -> None:
        """Read on, deaf, until the remote is done too or the time is up."""
        if self._closing:
            return
        self.resume_reading()
        self._closing = True
        self._late_pong = b""
        self._liveness.stop()
        if self._link is not None:
            self._link.writing_paused()
        limit = self._settings.drain_timeout if self._blocked else self._settings.close_timeout
        self._deadline.start(limit, self._end_overdue)

    def _end_overdue(self) -> None:
        """Close the outer connection; when that does not help either, or it can't even be written to, abort it."""
        if self._blocked or self._overdue:
            self._abort_outer()
            return
        self._overdue = True
        self._unregister()
        self.transport.loseConnection()
        self._deadline.start(self._settings.close_timeout, self._end_overdue)

    def _unregister(self) -> None:
        """An outer connection with a producer would not close."""
        if self._registered:
            self._registered = False
            self.transport.unregisterProducer()

    def _abort_outer(self) -> None:
        if self._link is not None:
            self._link.disconnecting = True
        abort = getattr(self.transport, "abortConnection", self.transport.loseConnection)
        abort()

    def _reason_for_user(self, reason: Failure) -> Failure:
        """What the user's ``connectionLost`` is told; ``reason`` is the outer connection's."""
        core = self._core
        if self._error is not None:
            return Failure(self._error)
        if core.parser_exc is not None and not isinstance(core.parser_exc, EOFError):
            return Failure(LinkError(f"the remote broke the WebSocket protocol: {core.parser_exc}"))
        if core.close_rcvd is not None:
            if core.close_rcvd.code in _GOOD_CLOSE:
                return Failure(error.ConnectionDone())
            return Failure(LinkLostError(f"the remote closed the WebSocket: {core.close_rcvd}"))
        if core.close_sent is None and reason.check(error.ConnectionDone):
            return Failure(LinkLostError("the WebSocket ended without a close frame"))
        return reason
