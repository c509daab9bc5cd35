"""The client's end of a link: one connection to one server."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory

from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    FirewallError,
    LinkError,
    LinkTimeoutError,
    PeerUnreachableError,
    SpaceswarmError,
    StreamError,
    StreamStalledError,
    from_code,
)
from spaceswarm_proxy.interfaces import TOPIC_LENGTH, Peer, PeerAddress
from spaceswarm_proxy.proxy import features
from spaceswarm_proxy.proxy.features import Feature, Role
from spaceswarm_proxy.proxy.link import Link
from spaceswarm_proxy.proxy.mux import MuxStream, Opened
from spaceswarm_proxy.proxy.stream import ProxyStream
from spaceswarm_proxy.proxy.wire import Event, EventType

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client import ProxyNetwork

log = txaio.make_logger()

#: Seconds that a stream which we have ended waits for a JavaScript server's CLOSE before we send it.
CLOSE_GRACE = 10.0


class Pending(NamedTuple):
    """A CONNECT that was sent and not answered."""

    peer: Peer
    factory: IProtocolFactory
    done: Deferred[IProtocol]


class ClientLink(Link):
    """The client's end of a link; made by :class:`~spaceswarm_proxy.proxy.client.ProxyNetwork` for each connection."""

    handlers = {
        **Link.handlers,
        EventType.READY: "_on_ready",
        EventType.ON_STREAM_OPEN: "_on_open",
        EventType.ON_PEER: "_on_peer",
        EventType.ON_UPDATED: "_on_updated",
        EventType.REPLY: "_on_reply",
    }

    def __init__(self, network: ProxyNetwork) -> None:
        super().__init__(network.clock, network.limits, client=True)
        self.network = network
        self._last_request = 0
        #: Requests that wait for their reply.
        self._requests: dict[int, Deferred[None]] = {}
        self._connects: dict[int, Pending] = {}
        #: CONNECTs to a server that gives no replies, in the order in which they were sent, by peer.
        self._unanswered: dict[bytes, deque[Pending]] = {}
        self._finishing: dict[MuxStream, float] = {}
        self._since = network.clock.seconds()

    # Beginning and end.

    def connectionMade(self) -> None:
        super().connectionMade()
        self.network.link_made(self)
        self.send(
            Event(
                EventType.READY,
                features=int(features.ALL),
                window=self.limits.window,
                key=self.network.key_pair.secret_key,
                token=self.network.token,
            )
        )

    def _on_ready(self, event: Event) -> None:
        if self.ready:
            return
        self.ready = True
        self.features = features.agreed(event.features)
        self.mux.replies = Feature.REPLIES in self.features
        if Feature.WINDOWS in self.features:
            self.mux.windows = True
            self.mux.remote_window = event.window or 0
        self.network.link_ready(self, event.key if event.key and len(event.key) == 32 else None)

    def link_lost(self, problem: Exception) -> None:
        self._finishing.clear()
        requests, self._requests = self._requests, {}
        connects = [*self._connects.values(), *(each for queue in self._unanswered.values() for each in queue)]
        self._connects.clear()
        self._unanswered.clear()
        for request in requests.values():
            request.errback(problem)
        for pending in connects:
            if not pending.done.called:
                pending.done.errback(problem)
        self.network.link_lost(self, problem)

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._closing is not None:
            return
        if not self.ready and now - self._since >= self.limits.ready_timeout:
            self.fail(LinkTimeoutError(f"the server sent no READY in {self.limits.ready_timeout:g} s"))
        for stream in [stream for stream, when in self._finishing.items() if now >= when]:
            del self._finishing[stream]
            self.mux.close(stream)
            self.flush()

    # Requests.

    def request(self, kind: int, topic: bytes | None = None, roles: Role | None = None) -> Deferred[None]:
        """
        Send JOIN, LEAVE, LISTEN or UNLISTEN.

        :param roles: what the topic is to be joined for, all of it.
        :returns: a Deferred of the server's answer; from a server that gives none, it has fired.
        """
        done: Deferred[None] = Deferred()
        event = Event(kind, topic=topic)
        if roles is not None and Feature.ROLES in self.features:
            event.roles = int(roles)
        if Feature.REPLIES in self.features:
            event.request = self._next_request()
            self._requests[event.request] = done
        else:
            done.callback(None)
        self.send(event)
        return done

    def _next_request(self) -> int:
        self._last_request = self._last_request % (2**31 - 1) + 1
        return self._last_request

    def connect(self, peer: Peer, factory: IProtocolFactory, done: Deferred[IProtocol]) -> None:
        """Send CONNECT; ``done`` is called with the protocol, or the failure, unless it was called by then."""
        pending = Pending(peer, factory, done)
        event = Event(EventType.CONNECT, peer=peer.id)
        if Feature.REPLIES in self.features:
            event.request = self._next_request()
            self._connects[event.request] = pending
        else:
            self._unanswered.setdefault(peer.id, deque()).append(pending)
        self.send(event)

    def _on_reply(self, event: Event) -> None:
        number = event.request or 0
        problem = from_code(event.code, (event.data or b"").decode("utf-8", "replace")) if event.code else None
        if number == 0:
            self.close(problem or LinkError("the server closed the link"))
        elif number in self._connects:
            pending = self._connects.pop(number)
            if not pending.done.called:
                pending.done.errback(problem or PeerUnreachableError())
        elif number in self._requests:
            request = self._requests.pop(number)
            if problem is None:
                request.callback(None)
            else:
                request.errback(problem)

    # Peers and streams.

    def _on_peer(self, event: Event) -> None:
        topic = event.topic or b""
        self.network.peer_found(topic, Peer.from_id(event.peer or b"", frozenset({topic})))

    def _on_updated(self, event: Event) -> None:
        self.network.lookup_updated(event.topic or b"")

    def _on_open(self, opened: Opened) -> None:
        event, stream = opened
        if Feature.REPLIES in self.features:
            pending = self._connects.pop(event.request or 0, None)
            unasked = event.request is None
        else:
            pending = self._take_unanswered(event.peer or b"")
            unasked = pending is None
        if stream.error is not None:  # it was over before we could look at it
            if pending is not None and not pending.done.called:
                pending.done.errback(_as_connect_error(stream.error))
        elif unasked:
            self._incoming(event, stream)
        elif pending is None or pending.done.called:  # cancelled, or it took too long
            self.reset(stream, PeerUnreachableError("not wanted any more"))
        else:
            self._outgoing(pending, stream)

    def _take_unanswered(self, peer: bytes) -> Pending | None:
        """
        The CONNECT that an OPEN answers: the first that somebody still waits for.

        As a JavaScript server may never answer, one that was given up must not stand in the way of the next.
        """
        queue = self._unanswered.get(peer)
        if not queue:
            return None
        pending = next((each for each in queue if not each.done.called), queue[0])
        queue.remove(pending)
        if not queue:
            del self._unanswered[peer]
        return pending

    def _outgoing(self, pending: Pending, stream: MuxStream) -> None:
        address = PeerAddress(pending.peer, True)
        try:
            protocol = pending.factory.buildProtocol(address)
            if protocol is None:
                raise ConnectCancelledError("the factory built no protocol")
        except Exception as problem:
            self.reset(stream, ConnectCancelledError())
            pending.done.errback(problem)
        else:
            self._attach(stream, protocol, address)
            pending.done.callback(protocol)

    def _incoming(self, event: Event, stream: MuxStream) -> None:
        port = self.network.listener
        if port is None:
            self.reset(stream, PeerUnreachableError("nobody listens"))
            return
        address = PeerAddress(_opener(event), False)
        try:
            protocol = port.factory.buildProtocol(address)
            if protocol is None:
                raise FirewallError("the peer refused the connection")
        except SpaceswarmError as problem:
            self.reset(stream, problem)
        except Exception:
            log.failure("buildProtocol failed for {address}", address=address)
            self.reset(stream, FirewallError("the peer refused the connection"))
        else:
            self._attach(stream, protocol, address)

    def _attach(self, stream: MuxStream, protocol: IProtocol, address: PeerAddress) -> None:
        ProxyStream(self, stream, self.network.address, address).attach(protocol)

    def finish(self, stream: MuxStream) -> None:
        """A stream's user is done with it in both directions: what is queued is sent, what arrives is dropped."""
        if self.mux.replies or stream.remote_ended:
            self.mux.close(stream)
        else:
            # When CLOSE comes, a JavaScript server throws away what its peer has not read; it answers the end of
            # data with a CLOSE of its own.
            self.mux.end(stream)
            self._close_later(stream)
        self.flush()

    def reset(self, stream: MuxStream, problem: Exception) -> None:
        """A stream is given up in both directions, with what is queued; nobody is told any more what arrives."""
        stream.owner = None
        if self.mux.replies or stream.remote_ended:
            self.mux.reset(stream, problem)
        else:
            # ERROR a JavaScript server does not survive; and when CLOSE comes, it keeps its connection to the peer,
            # which would never learn of it.
            self.mux.cut(stream)
            self._close_later(stream)
        self.flush()

    def stalled(self, stream: MuxStream, problem: StreamStalledError) -> None:
        """See :meth:`Link.stalled`; gently, where the server is a JavaScript one."""
        if self.mux.replies or stream.remote_ended:
            super().stalled(stream, problem)
            return
        stream.error = problem
        self.mux.discard(stream)
        self._tell(stream)
        self.reset(stream, problem)

    def _close_later(self, stream: MuxStream) -> None:
        self._finishing[stream] = self.clock.seconds() + CLOSE_GRACE


def _opener(event: Event) -> Peer:
    """The peer that opened a stream to us; a topic of zeros stands for none."""
    known = event.topic is not None and len(event.topic) == TOPIC_LENGTH and any(event.topic)
    return Peer.from_id(event.peer or b"", frozenset({event.topic or b""} if known else ()))


def _as_connect_error(problem: Exception) -> Exception:
    """What ended a stream before anybody had it; ``connect`` promises no stream's error."""
    return PeerUnreachableError(str(problem)) if isinstance(problem, StreamError) else problem


def status_detail(link: Any) -> str:
    """What a server that is no more than the JavaScript one cannot do, in a line."""
    if link is None or not link.ready:
        return "not connected to the proxy server"
    if Feature.ROLES not in link.features:
        return "connected to a JavaScript proxy server, which cannot announce for us or say why a connection failed"
    return "connected to the proxy server"
