"""
An encrypted connection: what stands between a carrier, any transport of Twisted's, and the user's protocol.

:class:`SecretConnection` is the carrier's protocol and its producer; :class:`~.transport.SecretTransport` is what the
user's protocol is connected to.  What the bytes mean is the :class:`~.session.Session`'s business.

*Opening.*  The connection is open when the remote has been *heard*: its header has come, and is of this session.  Only
then is the user's protocol built and connected, unless the caller wants it as soon as there are keys (``early``).

*Writing.*  While the carrier is full, so is the user's transport.  What is written from inside a call of the carrier's
goes to it in one piece, when that call is over or there is much of it; anything else goes at once.

*Reading.*  The user's pausing is the carrier's.  What was in the same piece waits; a frame that is not complete is held
as far as ``max_message`` allows.

*Ending.*  There is no mark for it: the carrier's end is ours, each direction by itself where the carrier can do that.
Its end inside a frame is no error, and that frame is lost.

There is one timer at most, which is moved when it comes (:class:`~.watch.Watch`).

:source: spec/connect.md, section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.crypto.datagram_box import OVERHEAD as DATAGRAM_OVERHEAD
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.crypto.secret_stream import MAX_MESSAGE
from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    ConnectError,
    ConnectTimeoutError,
    LimitError,
    NotSupportedError,
    ProtocolError,
    StreamTimeoutError,
    ValueTooLargeError,
)
from spaceswarm_proxy.interfaces import IMessageProtocol, Peer, PeerAddress
from spaceswarm_proxy.secret.session import Session
from spaceswarm_proxy.secret.timer import Timer
from spaceswarm_proxy.secret.transport import SecretTransport
from spaceswarm_proxy.secret.watch import Due, Watch
from spaceswarm_proxy.tcp import accelerate

#: Bytes that wait for the end of a call of the carrier's, at most.
MAX_CORKED = 64 * 1024

#: Makes the user's protocol for a connection; with ``None`` that is refused.
Build = Callable[[SecretTransport], IProtocol | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is common to many connections; times in seconds."""

    #: What streams are bound to, the likeliest first: a profile's ``stream_labels``.
    labels: Sequence[str] = SPACESWARM.stream_labels
    #: Bytes of the longest message taken, and so what a remote can make us hold; larger writes become several messages.
    max_message: int = MAX_MESSAGE
    #: For the opening: until the remote has been heard.  0 is for ever.
    opening_timeout: float = 15.0
    #: Without a write, before a keep-alive is sent; 0 never is.
    keep_alive: float = 0.0
    #: Without a byte from the remote, before it is given up; 0 never is.
    timeout: float = 0.0


@implementer(IProtocol, IHalfCloseableProtocol, IMessageProtocol, IPushProducer)
class SecretConnection:
    """
    One end.  Connect it to its carrier as any protocol: ``makeConnection``, or ``attach`` of a ``StreamTransport``.

    ``pauseProducing`` and ``resumeProducing`` are the carrier's word on whether it can be written to.
    """

    __slots__ = (
        "_addresses",
        "_blocked",
        "_build",
        "_carrier",
        "_corked",
        "_deaf",
        "_early",
        "_registered",
        "_timer",
        "_waiting",
        "_watch",
        "clock",
        "opened",
        "secret",
        "session",
        "settings",
    )

    def __init__(
        self,
        session: Session,
        settings: Settings,
        clock: Any,
        build: Build,
        *,
        early: bool = False,
        addresses: tuple[PeerAddress, PeerAddress] | None = None,
    ) -> None:
        """
        :param session: a fresh one, with a handshake to do or with keys.
        :param clock: an ``IReactorTime``.
        :param build: makes the user's protocol; its transport's ``getPeer()`` knows whose it is.
        :param early: connect the user's protocol before the remote has been heard, as soon as there are keys.
        :param addresses: our own and the remote's, where more is known of them than the keys.
        """
        #: Fires with the user's protocol when the remote has been heard; fails with a ``ConnectError``, or a
        #: ``ProtocolError`` when the remote is not who it should be.
        self.opened: Deferred[IProtocol] = Deferred(self._cancelled)
        #: What the user's protocol is connected to, as soon as there are keys.
        self.secret: SecretTransport | None = None
        self.session = session
        self.settings = settings
        self.clock = clock
        self._build = build
        self._early = early
        self._addresses = addresses
        self._carrier: Any = None
        self._registered = False
        self._blocked = False
        # Is a call of the carrier's under way, and how many bytes wait for its end?
        self._corked = False
        self._waiting = 0
        # Is what comes in of no use any more?
        self._deaf = False
        self._watch = Watch(clock.seconds(), settings.opening_timeout, settings.keep_alive, settings.timeout)
        self._timer = Timer(clock, self._watch, self._due)

    # IProtocol: what the carrier tells.

    def makeConnection(self, transport: Any) -> None:
        """The carrier is connected."""
        self._carrier = transport
        accelerate(transport)
        transport.registerProducer(self, True)
        self._registered = True
        self._timer.set()
        self.connectionMade()

    def connectionMade(self) -> None:
        """Begin."""
        self._corked = True
        try:
            self.session.start()
            self._progress()
        except ProtocolError as problem:
            self._fail(problem)
        self._uncork()

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        if self._deaf:
            return
        self._watch.heard(self.clock.seconds())
        self._corked = True
        problem = None
        try:
            messages = self.session.receive(data)
        except ProtocolError as violation:
            problem, messages = violation, violation.decoded
        if not self.opened.called:
            self._progress()
        if self.secret is not None and messages:
            self.secret.data_arrived([message for message in messages if message])
        if problem is not None:
            self._fail(problem)
        self._uncork()

    def message_received(self, data: bytes) -> None:
        """A datagram has come beside the stream.  Whatever is wrong with it, it is just not there."""
        datagram = None if self._deaf else self.session.unseal(data)
        if datagram is not None and self.secret is not None:
            self.secret.message_arrived(datagram)

    def readConnectionLost(self) -> None:
        """The remote says nothing more.  To a protocol that was connected early that is an end like any other."""
        problem = ConnectError("the remote ended the connection before it had opened")
        if self.secret is None or self.secret.protocol is None:
            self._fail(problem)
            return
        if not self.opened.called:
            self.opened.errback(problem)
        self.secret.end_arrived()

    def writeConnectionLost(self) -> None:
        """Our direction has ended, as we wanted it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The carrier is lost, and with it all."""
        self._deaf = True
        self._registered = False
        self._timer.stop()
        if self.secret is not None:
            self.secret.connection_ended(reason)
        if not self.opened.called:
            problem = ConnectError(f"the connection was lost before it had opened: {reason.getErrorMessage()}")
            problem.__cause__ = reason.value
            self.opened.errback(problem)

    # IPushProducer: the carrier's word on writing.

    def pauseProducing(self) -> None:
        """The carrier is full."""
        self._blocked = True
        if self.secret is not None:
            self.secret.sender_paused()

    def resumeProducing(self) -> None:
        """The carrier takes data again."""
        self._blocked = False
        if self.secret is not None and self.session.is_ready:
            self._corked = True
            self.secret.sender_resumed()
            self._uncork()

    def stopProducing(self) -> None:
        """The carrier is lost; ``connectionLost`` tells more."""

    # What the user's transport does.

    def send(self, data: bytes) -> None:
        """Send bytes: one message, or as many as it takes."""
        limit = self.settings.max_message
        if len(data) <= limit:
            self.session.send(data)
        else:
            for start in range(0, len(data), limit):
                self.session.send(data[start : start + limit])
        self._waiting += len(data)
        if not self._corked or self._waiting >= MAX_CORKED:
            self._flush()

    def send_keep_alive(self) -> None:
        """Send an empty message, if the connection is open and can be written to."""
        if self.opened.called and self._registered and not self._blocked:
            self.send(b"")

    def send_end(self) -> None:
        """End our direction alone, where the carrier can do that; elsewhere it ends with the connection."""
        self._flush()
        self._watch.done_writing()
        if _half_closes(self._carrier):
            self._unregister()
            self._carrier.loseWriteConnection()

    def finish(self) -> None:
        """End the connection when all is written."""
        self._flush()
        self._deaf = True
        self._timer.stop()
        self._unregister()
        getattr(self._carrier, "close_now", self._carrier.loseConnection)()

    def abort_carrier(self) -> None:
        """End the connection now."""
        self._deaf = True
        self._timer.stop()
        if self._carrier is not None:
            getattr(self._carrier, "abortConnection", self._carrier.loseConnection)()

    def reading_changed(self, paused: bool) -> None:
        """The user's protocol stopped, or goes on, reading."""
        if self._deaf:
            return
        if paused:
            self._watch.not_reading()
            self._carrier.pauseProducing()
        else:
            self._watch.reading(self.clock.seconds())
            self._timer.set()
            self._carrier.resumeProducing()

    def set_keep_alive(self, seconds: float) -> None:
        """See :meth:`SecretTransport.set_keep_alive`."""
        self._watch.set_keep_alive(seconds)
        self._timer.set()

    def set_timeout(self, seconds: float) -> None:
        """See :meth:`SecretTransport.set_timeout`."""
        self._watch.set_timeout(seconds, self.clock.seconds())
        self._timer.set()

    @property
    def max_datagram(self) -> int:
        """Bytes of the longest message beside the stream; 0 where there are none."""
        carried: int = getattr(self._carrier, "max_message", 0)
        return max(0, carried - DATAGRAM_OVERHEAD)

    def send_datagram(self, data: bytes) -> None:
        """See :meth:`SecretTransport.send_message`."""
        limit = self.max_datagram
        if not limit:
            raise NotSupportedError("messages beside the stream need a carrier that has them, such as UDX")
        if len(data) > limit:
            raise ValueTooLargeError("max_message", limit)
        if self._deaf:
            return
        try:
            sealed = self.session.seal(data)
        except LimitError as problem:
            self._fail(problem)
            return
        if sealed is not None:
            self._carrier.send_message(sealed)

    # Opening.

    def _progress(self) -> None:
        """See how far the session has come by now."""
        session = self.session
        if self.secret is None:
            self._make_transport()
        if self.secret is None or self._deaf:
            return
        if session.is_ready and not self._blocked:
            self.secret.sender_resumed()
        if session.label is not None and not self.opened.called:
            self._open()

    def _make_transport(self) -> None:
        session, keys = self.session, self.session.keys
        if keys is None:
            return
        host, peer = self._addresses or (
            PeerAddress(Peer.keyed(session.public_key), session.initiator, True),
            PeerAddress(Peer.keyed(keys.remote_public_key), session.initiator, True),
        )
        self.secret = SecretTransport(self, keys, host, peer)
        if self._blocked or not session.is_ready:
            self.secret.sender_paused()
        if self._early:
            self._attach(self.secret)

    def _open(self) -> None:
        """The remote has been heard."""
        assert self.secret is not None
        if not self._early:
            self._attach(self.secret)
        protocol = self.secret.protocol
        if protocol is None or self.opened.called:
            return
        self._watch.opened(self.clock.seconds())
        self._timer.set()
        self.opened.callback(protocol)

    def _attach(self, secret: SecretTransport) -> None:
        try:
            protocol = self._build(secret)
            if protocol is None:
                raise ConnectCancelledError("the factory built no protocol")
        except Exception as problem:
            self._refuse(problem)
        else:
            secret.attach(protocol)

    def _refuse(self, problem: Exception) -> None:
        """
        The user does not want it.

        A client hears our end, not a reset: that is what it gets from a server that does not understand it.
        """
        if self.session.initiator:
            self._not_opened(problem)
            return
        self._deaf = True
        self._timer.stop()
        self.opened.errback(problem)
        self._unregister()
        self._carrier.loseConnection()

    def _cancelled(self, opened: Deferred[IProtocol]) -> None:
        self._not_opened(ConnectCancelledError())

    def _not_opened(self, problem: Exception) -> None:
        """Give the connection up before it has opened."""
        self.opened.errback(problem)
        self._abandon(problem)

    def _fail(self, problem: Exception) -> None:
        """Something has happened that ends the connection."""
        if self.opened.called:
            self._abandon(problem)
        else:
            self._not_opened(problem)

    def _abandon(self, problem: Exception) -> None:
        """End the connection now; the user's protocol, if there is one, is told why."""
        if self.secret is not None and self.secret.protocol is not None:
            self.secret.abort(problem)
        else:
            self.abort_carrier()

    # Writing.

    def _uncork(self) -> None:
        self._corked = False
        self._flush()

    def _flush(self) -> None:
        self._waiting = 0
        output = self.session.data_to_send()
        if output and not self._deaf:
            self._watch.wrote(self.clock.seconds())
            self._carrier.writeSequence(output)

    def _unregister(self) -> None:
        """A carrier with a producer would not end."""
        if self._registered:
            self._registered = False
            self._carrier.unregisterProducer()

    # Time.

    def _due(self, due: Due) -> None:
        if due is Due.OPENING:
            self._fail(ConnectTimeoutError("the remote was not heard in time"))
        elif due is Due.SILENCE:
            self._fail(StreamTimeoutError())
        else:
            self._watch.wrote(self.clock.seconds())
            self.send_keep_alive()


def _half_closes(carrier: Any) -> bool:
    """Can our direction alone be ended?  TLS passes the attribute of the connection below it on, and cannot."""
    able = ITCPTransport.providedBy(carrier) or IHalfCloseableDescriptor.providedBy(carrier)
    return able and not ISSLTransport.providedBy(carrier)
