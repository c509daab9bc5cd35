"""Carrying one stream between a link and a peer: what the server is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import error
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocolFactory, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.crypto.keeper import DistantKeys
from spaceswarm_proxy.errors import LinkError, PeerUnreachableError, StreamResetError
from spaceswarm_proxy.interfaces import Peer, PeerAddress, SealedAddress
from spaceswarm_proxy.tcp import accelerate

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.identity import Identity
    from spaceswarm_proxy.proxy.mux import MuxStream
    from spaceswarm_proxy.proxy.server_link import ServerLink


@implementer(IHalfCloseableProtocol, IPushProducer)
class Relay(Protocol):
    """
    The protocol of a connection to a peer (the *upstream*), and the owner of the stream in the link that it belongs to.

    Either transport is paused when the other is full.  Ends are carried one direction at a time: the peer's end of
    data becomes the marker, the client's becomes a half-close; when both have ended, CLOSE.  A reset on either side
    is a reset on the other.
    """

    transport: Any

    def __init__(
        self,
        link: ServerLink,
        peer: Peer,
        topic: bytes,
        request: int | None,
        *,
        inbound: bool = False,
        keys: DistantKeys | None = None,
    ) -> None:
        """
        :param request: the number of the CONNECT that this answers, if it has one.
        :param inbound: was it the peer who connected?
        :param keys: of a sealed stream: the client has the rest of them.
        """
        self.inbound = inbound
        self.keys = keys
        self.link = link
        self.peer = peer
        self.topic = topic
        self.request = request
        self.stream: MuxStream | None = None
        self._full = False
        self._peer_ended = False
        self._lost = False
        self._end_sent = False
        self._read = False
        self._written = False

    @property
    def active(self) -> bool:
        """Has it carried anything in both directions?"""
        return self._read and self._written

    # The peer's side.

    def connectionMade(self) -> None:
        self.stream = self.link.upstreams.connected(self)
        if self.stream is None:
            self.transport.abortConnection()
            return
        accelerate(self.transport)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self._read = True
        link = self.link
        if not link.mux.send(self.stream, data):  # type: ignore[arg-type]
            self.transport.pauseProducing()
        link.flush()

    def readConnectionLost(self) -> None:
        """The peer's end of data."""
        self._peer_ended = True
        stream = self.stream
        if stream is None or stream.closed:
            self.transport.loseConnection()
            return
        self.link.mux.end(stream)
        self.link.upstreams.ended(self)
        self._ended()
        self.link.flush()

    def writeConnectionLost(self) -> None:
        """Our end of data has gone out; nothing follows from it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._full = False
        link, stream = self.link, self.stream
        if stream is not None:
            if not stream.closed:
                self._pass_loss(stream, reason)
                link.flush()
            link.mux.discard(stream)
            link.consumed(stream)
        link.upstreams.lost(self)

    def _pass_loss(self, stream: MuxStream, reason: Failure) -> None:
        mux = self.link.mux
        if self._peer_ended:
            mux.close(stream)  # it has said all; that it takes no more is no error
        elif reason.check(error.ConnectionDone):
            mux.end(stream)
            self.link.upstreams.gone(self)
        else:
            mux.reset(stream, StreamResetError(reason.getErrorMessage()))
            self.link.upstreams.torn(self)

    # The stream's side.

    def arrived(self) -> None:
        stream = self.stream
        assert stream is not None  # it has one before it can have news
        if stream.error is not None and not isinstance(stream.error, LinkError):
            self._abort()
        elif self._lost:
            self.link.mux.discard(stream)
            self._ended()
        elif not self._full:
            data = self.link.mux.take(stream)
            if data:
                self._written = True
                self.transport.write(data)
                if self._peer_ended:
                    self.link.upstreams.answered(self)
            if stream.remote_ended:
                self._pass_end(stream)
        elif stream.closed:
            self.link.server.linger(self)

    def _pass_end(self, stream: MuxStream) -> None:
        """Hand on the client's end, if there is one and all that came before it has gone."""
        if self._full and stream.inbound:
            return
        if stream.closed:
            self.finish()
        elif stream.remote_ended:
            self._ended()
            if not self._end_sent and not stream.closed:
                self._end_sent = True
                self.transport.unregisterProducer()
                self._half_close()

    def _half_close(self) -> None:
        half_close = getattr(self.transport, "loseWriteConnection", None)
        if half_close is None:
            self.transport.loseConnection()
        else:
            half_close()

    def _ended(self) -> None:
        """If both directions have ended, so has the stream."""
        stream = self.stream
        assert stream is not None
        if stream.remote_ended and (self._peer_ended or self._lost) and not stream.inbound:
            self.link.mux.close(stream)
            if not self._lost:
                self.finish()

    def finish(self) -> None:
        """Let the peer have what is written, then close; not for ever."""
        if self._lost:
            return
        transport = self.transport
        transport.unregisterProducer()
        getattr(transport, "close_now", transport.loseConnection)()
        if not self._lost:
            self.link.server.linger(self)

    def _abort(self) -> None:
        if not self._lost:
            self.transport.abortConnection()

    def give_up(self) -> None:
        """The peer did not take the rest in time."""
        self._abort()

    def resume_source(self) -> None:
        if not self._lost:
            self.transport.resumeProducing()

    # The upstream transport's producer.

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        stream = self.stream
        if stream is not None:
            if stream.closed:  # the peer is slow with the rest, but not dead
                self.link.server.linger(self)
            self.arrived()
            self.link.consumed(stream)

    def stopProducing(self) -> None:
        """The transport is closing; ``connectionLost`` follows."""


@implementer(IProtocolFactory)
class Dial:
    """The factory of the one protocol of one connection attempt; also what the link knows of the attempt meanwhile."""

    __slots__ = ("deadline", "deferred", "link", "peer", "request", "superseded", "topic")

    def __init__(self, link: ServerLink, peer: Peer, topic: bytes, request: int | None, deadline: float) -> None:
        self.link = link
        self.peer = peer
        self.topic = topic
        self.request = request
        #: When it has taken too long, in the clock's seconds.
        self.deadline = deadline
        self.deferred: Any = None
        #: Did another connection with the peer take its place?
        self.superseded = False

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop."""

    def buildProtocol(self, address: IAddress) -> Relay:
        """
        See ``IProtocolFactory``.

        :raises PeerUnreachableError: the keys are at another link of the client, which dials the same peer.
        """
        keys = address.keys if isinstance(address, SealedAddress) else None
        if keys is not None and self.link not in self.link.identity.takers(keys):
            raise PeerUnreachableError("another link of the client has the keys")
        return Relay(self.link, self.peer, self.topic, self.request, keys=keys)


@implementer(IProtocolFactory)
class Inbound:
    """The factory for the streams that peers open to one client; the newest of its links that wants one gets it."""

    __slots__ = ("identity",)

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop."""

    def buildProtocol(self, address: IAddress) -> Relay | None:
        """
        See ``IProtocolFactory``.

        :raises DuplicateConnectionError: it is refused for the sake of one that there is.
        :raises PeerUnreachableError: the client is away, and may come back.
        """
        assert isinstance(address, PeerAddress)  # networks give no other
        if not self.identity.present:
            raise PeerUnreachableError("the peer is away")
        keys = address.keys if isinstance(address, SealedAddress) else None
        for link in self.identity.takers(keys):
            topic = link.upstreams.accepts(address.peer)
            if topic is not None:
                return Relay(link, address.peer, topic, None, inbound=True, keys=keys)
        return None
