"""The client's end of a link: one connection to one server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import txaio
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import (
    ConnectCancelledError,
    FirewallError,
    LinkError,
    LinkTimeoutError,
    PeerUnreachableError,
    SpaceswarmError,
    StreamStalledError,
)
from spaceswarm_proxy.interfaces import TOPIC_LENGTH, Peer, PeerAddress
from spaceswarm_proxy.proxy import features
from spaceswarm_proxy.proxy.features import Feature, Role
from spaceswarm_proxy.proxy.introduction import introduce
from spaceswarm_proxy.proxy.link import Link
from spaceswarm_proxy.proxy.mux import MuxStream, Opened
from spaceswarm_proxy.proxy.pending import Connects, Pending
from spaceswarm_proxy.proxy.sealed_streams import SealedStreams, as_connect_error
from spaceswarm_proxy.proxy.stream import ProxyStream
from spaceswarm_proxy.proxy.wire import Event, EventType, told_problem

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client import ProxyNetwork
    from spaceswarm_proxy.proxy.listening import ProxyPort

log = txaio.make_logger()

#: Seconds that a server has to tell the network that we are gone, when that takes our signature.
FAREWELL = 4.0
#: Seconds that a stream which we have ended waits for a JavaScript server's CLOSE before we send it.
CLOSE_GRACE = 10.0


class ClientLink(Link):
    """The client's end of a link; made by :class:`~spaceswarm_proxy.proxy.client.ProxyNetwork` for each connection."""

    handlers = {
        **Link.handlers,
        EventType.READY: "_on_ready",
        EventType.ON_STREAM_OPEN: "_on_open",
        EventType.ON_PEER: "_on_peer",
        EventType.ON_UPDATED: "_on_updated",
        EventType.REPLY: "_on_reply",
        EventType.SEAL: "_on_question",
        EventType.UNSEAL: "_on_question",
        EventType.SIGN: "_on_question",
        EventType.DROP: "_on_drop",
    }

    def __init__(self, network: ProxyNetwork) -> None:
        super().__init__(network.clock, network.limits, client=True)
        self.network = network
        # Has the server said READY?
        self._greeted = False
        self._last_request = 0
        #: Requests that wait for their reply.
        self._requests: dict[int, Deferred[None]] = {}
        self._connects = Connects()
        self._finishing: dict[MuxStream, float] = {}
        #: Where the server does not have the secret key: what does without it, and the streams that it can't read.
        self.sealed: SealedStreams | None = None
        self._since = network.clock.seconds()

    # Beginning and end.

    def connectionMade(self) -> None:
        super().connectionMade()
        network = self.network
        network.link_made(self)
        ready = Event(EventType.READY, features=int(network.features), window=self.limits.window, token=network.token)
        if Feature.END_TO_END not in network.features:
            ready.key = network.secret_key
        self.send(ready)

    def _on_ready(self, event: Event) -> None:
        if self._greeted:
            return
        self._greeted = True
        self.features = features.agreed(event.features, self.network.features)
        self.mux.replies = Feature.REPLIES in self.features
        if Feature.WINDOWS in self.features:
            self.mux.windows = True
            self.mux.remote_window = event.window or 0
        introduce(self, event)

    def begin(self, public_key: bytes | None) -> None:
        """It is settled who we are: the link can be used."""
        if not self.closing:
            self.ready = True
            self.network.link_ready(self, public_key)

    # What the server asks of us.

    def _on_question(self, event: Event) -> None:
        if self.sealed is not None:
            self.sealed.sealer.asked(event)

    def _on_drop(self, event: Event) -> None:
        if self.sealed is not None:
            self.sealed.sealer.drop(event.handshake)

    def send_if_open(self, event: Event) -> None:
        """Send an event that came about by itself."""
        if not self.closing:
            self.send(event)

    def is_connecting_to(self, public_key: bytes) -> bool:
        """Have we asked for a connection with this peer that has not come about?"""
        return self._connects.are_to(public_key)

    def link_lost(self, problem: Exception) -> None:
        self._finishing.clear()
        if self.sealed is not None:
            self.sealed.sealer.close()
        requests, self._requests = self._requests, {}
        for request in requests.values():
            request.errback(problem)
        self._connects.fail(problem)
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
        if self.sealed is not None:
            self.sealed.sealer.tick(now)

    # Requests.

    def request(self, kind: int, topic: bytes | None = None, roles: Role | None = None) -> Deferred[None]:
        """
        Send JOIN, LEAVE, LISTEN, UNLISTEN or FAREWELL.

        :param roles: what the topic is to be joined for, all of it.
        :returns: a Deferred of the server's answer; from a server that gives none, it has fired.
        """
        event = Event(kind, topic=topic)
        if roles is not None and Feature.ROLES in self.features:
            event.roles = int(roles)
        return self.ask(event)

    def ask(self, event: Event) -> Deferred[None]:
        """
        Send what is to be answered by a REPLY.

        :returns: as :meth:`request`.
        """
        done: Deferred[None] = Deferred()
        if Feature.REPLIES in self.features:
            event.request = self._next_request()
            self._requests[event.request] = done
        else:
            done.callback(None)
        self.send(event)
        return done

    def farewell(self, topics: Iterable[bytes], listening: bool) -> Deferred[None]:
        """
        Tell the server that we shall not be back in a moment, so that nobody is to find us.

        :param topics: those that were joined.
        :param listening: are streams taken?
        :returns: a Deferred that fires when the server needs us no more: to take back what we have signed, it takes
            our signature.
        """
        if self.sealed is not None:
            return self.request(EventType.FAREWELL).addTimeout(FAREWELL, self.clock).addErrback(_trap_ours)
        for topic in topics:
            self.request(EventType.LEAVE, topic).addErrback(_trap_ours)
        if listening and Feature.ROLES in self.features:
            self.request(EventType.UNLISTEN).addErrback(_trap_ours)
        return succeed(None)

    def _next_request(self) -> int:
        self._last_request = self._last_request % (2**31 - 1) + 1
        return self._last_request

    def connect(self, peer: Peer, factory: IProtocolFactory, done: Deferred[IProtocol]) -> None:
        """Send CONNECT; ``done`` is called with the protocol, or the failure, unless it was called by then."""
        labels = () if self.sealed is None else self.sealed.labels.all
        self.send_connect(Pending(peer, factory, done, labels))

    def send_connect(self, pending: Pending) -> None:
        """Send CONNECT, for the first time or again."""
        event = Event(EventType.CONNECT, peer=pending.peer.id)
        if Feature.REPLIES in self.features:
            event.request = self._next_request()
        self._connects.add(pending, event.request)
        self.send(event)

    def cancelled(self, done: Deferred[IProtocol]) -> None:
        """Nobody wants a connection any more."""
        if self.sealed is not None:
            self.sealed.cancelled(done)

    def _on_reply(self, event: Event) -> None:
        number, problem = event.request or 0, told_problem(event)
        if number == 0:
            self.close(problem or LinkError("the server closed the link"))
            return
        pending = self._connects.answered(number)
        request = self._requests.pop(number, None)
        if pending is not None:
            pending.fail(problem or PeerUnreachableError())
        elif request is not None and problem is None:
            request.callback(None)
        elif request is not None:
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
            unasked = event.request is None
            pending = None if event.request is None else self._connects.answered(event.request)
        else:
            pending = self._connects.opened(event.peer or b"")
            unasked = pending is None
        if stream.error is not None:  # it was over before we could look at it
            self._unwanted(event, stream, stream.error, pending)
        elif unasked:
            self._incoming(event, stream)
        elif pending is None or pending.done.called:  # cancelled, or it took too long
            self._unwanted(event, stream, PeerUnreachableError("not wanted any more"))
        else:
            self._outgoing(pending, event, stream)

    def _unwanted(self, event: Event, stream: MuxStream, problem: Exception, pending: Pending | None = None) -> None:
        if self.sealed is not None:
            self.sealed.sealer.drop(event.handshake)
        if stream.error is None:
            self.reset(stream, problem)
        if pending is not None:
            pending.fail(as_connect_error(problem))

    def _outgoing(self, pending: Pending, event: Event, stream: MuxStream) -> None:
        if self.sealed is not None and (pending.peer.public_key is not None or event.handshake is not None):
            self.sealed.outgoing(pending, stream, event.handshake)
        else:
            self.hand_out(pending, stream, PeerAddress(pending.peer, True))

    def hand_out(self, pending: Pending, stream: MuxStream, address: PeerAddress) -> bool:
        """
        A stream that we have asked for is there.

        :param address: of the peer.
        :returns: whether the user's protocol has taken it.
        """
        try:
            protocol = pending.factory.buildProtocol(address)
            if protocol is None:
                raise ConnectCancelledError("the factory built no protocol")
        except Exception as problem:
            self.reset(stream, ConnectCancelledError())
            pending.fail(problem)
            return False
        self._attach(stream, protocol, address)
        pending.done.callback(protocol)
        return True

    def _incoming(self, event: Event, stream: MuxStream) -> None:
        port, peer = self.network.listener, _opener(event)
        if port is None:
            self._unwanted(event, stream, PeerUnreachableError("nobody listens"))
        elif self.sealed is not None:
            self.sealed.incoming(port, peer, stream, event.handshake)
        else:
            self.take_in(port, stream, PeerAddress(peer, False))

    def take_in(self, port: ProxyPort, stream: MuxStream, address: PeerAddress) -> bool:
        """
        A stream is there that a peer has opened.

        :param address: of the peer.
        :returns: whether the user's protocol has taken it.
        """
        try:
            protocol = port.factory.buildProtocol(address)
            if protocol is None:
                raise FirewallError("the peer refused the connection")
        except SpaceswarmError as problem:
            self.reset(stream, problem)
            return False
        except Exception:
            log.failure("buildProtocol failed for {address}", address=address)
            self.reset(stream, FirewallError("the peer refused the connection"))
            return False
        self._attach(stream, protocol, address)
        return True

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


def _trap_ours(failure: Failure) -> None:
    """No answer is waited for."""
    failure.trap(SpaceswarmError, TimeoutError)


def status_detail(link: Any) -> str:
    """What a server that is no more than the JavaScript one cannot do, in a line."""
    if link is None or not link.ready:
        return "not connected to the proxy server"
    if Feature.ROLES not in link.features:
        return "connected to a JavaScript proxy server, which cannot announce for us or say why a connection failed"
    return "connected to the proxy server"
