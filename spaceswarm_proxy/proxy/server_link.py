"""One client of the server: what its events mean."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import txaio
from twisted.internet.defer import DeferredList
from twisted.python.failure import Failure

from spaceswarm_proxy.crypto.keys import SECRET_KEY_LENGTH, SEED_LENGTH, KeyPair
from spaceswarm_proxy.errors import (
    AuthenticationError,
    ConnectTimeoutError,
    DrainingError,
    DuplicateConnectionError,
    EventError,
    LimitError,
    LinkTimeoutError,
    NotSupportedError,
    UnknownPeerError,
    to_code,
)
from spaceswarm_proxy.interfaces import IAnnouncement, Peer
from spaceswarm_proxy.proxy import features
from spaceswarm_proxy.proxy.features import Feature, Role
from spaceswarm_proxy.proxy.link import Link
from spaceswarm_proxy.proxy.membership import Membership
from spaceswarm_proxy.proxy.mux import Mux, MuxStream
from spaceswarm_proxy.proxy.relay import Dial, Inbound, Relay
from spaceswarm_proxy.proxy.wire import Event, EventType
from spaceswarm_proxy.swarm.duplicates import keep_new

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.server import ProxyServer

log = txaio.make_logger()

#: The request number of a REPLY that is about the link itself.
LINK = 0


class ServerLink(Link):
    """The server's end of a link: one for each client, made by :class:`~spaceswarm_proxy.proxy.server.ProxyServer`."""

    handlers = {
        **Link.handlers,
        EventType.READY: "_on_ready",
        EventType.JOIN: "_on_join",
        EventType.LEAVE: "_on_leave",
        EventType.CONNECT: "_on_connect",
    }

    def __init__(self, server: ProxyServer, address: object) -> None:
        limits = server.limits
        mux = Mux(
            client=False,
            max_streams=limits.max_streams,
            window=limits.window,
            max_queued=limits.max_buffered,
            max_frame=limits.max_frame,
        )
        super().__init__(server.clock, limits, mux)
        self.server = server
        self.address = address
        self.memberships: dict[bytes, Membership] = {}
        self.key_pair: KeyPair | None = None
        self._network: Any = None
        self._port: Any = None
        #: What we told it of, by the id on the wire.
        self._known: dict[bytes, tuple[Peer, bytes]] | None = None
        self._dials: set[Dial] | None = None
        #: For clients without replies: the one connection to each peer with a key.
        self._single: dict[bytes, Relay | Dial] | None = None
        #: Relays whose peer has ended, and when that is passed on as CLOSE.
        self._half_closed: dict[Relay, float] | None = None
        #: Connections to peers, open or being made.
        self.streams = 0
        self._since = server.clock.seconds()
        self._partial = 0
        self._drained = False

    # Beginning and end.

    def connectionMade(self) -> None:
        super().connectionMade()
        refusal = self.server.admit(self)
        if refusal is not None:
            self._refuse(refusal)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        held = self.mux.decoder.buffered
        if held != self._partial:
            growth, self._partial = held - self._partial, held
            if not self.server.partial(growth):
                self._refuse(LimitError("max_partial_total", self.limits.max_partial_total))

    def _refuse(self, problem: Exception) -> None:
        """Say why, to who can read it, and close."""
        self.server.note(self, problem)
        if not self.ready:  # we can't know yet what it understands; a JavaScript client skips this
            self.features |= Feature.REPLIES
        self.reply(LINK, problem)
        self.close(problem)

    def violated(self, problem: Exception) -> None:
        self._refuse(problem)

    def link_lost(self, problem: Exception) -> None:
        self.server.partial(-self._partial)
        for dial in tuple(self._dials or ()):
            dial.deferred.cancel()
        for membership in tuple(self.memberships.values()):
            self.server.settle(membership.leave())
        self.memberships.clear()
        self._half_closed = None
        if self._network is not None and self._network is not self.server.network:
            self.server.settle(self._network.close())
        self.server.left(self)

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._closing is not None:
            return
        if not self.ready:
            if now - self._since >= self.limits.ready_timeout:
                self._refuse(LinkTimeoutError(f"no READY in {self.limits.ready_timeout:g} s"))
            return
        if self.memberships or self.streams:
            self._since = now
        elif now - self._since >= self.limits.idle_timeout:
            self._refuse(LinkTimeoutError(f"no topic and no stream for {self.limits.idle_timeout:g} s"))
        for dial in [dial for dial in self._dials or () if now >= dial.deadline]:
            dial.deferred.cancel()
        for relay in [relay for relay, when in (self._half_closed or {}).items() if now >= when]:
            self._close_half_closed(relay)

    def drain(self) -> None:
        """The server is about to stop: nothing new; the streams go on."""
        self._drained = True

    # READY.

    def _on_ready(self, event: Event) -> None:
        if self.ready:
            return
        self.features = Feature(event.features or 0) & features.ALL
        if not self.server.authorized(event.token):
            self._refuse(AuthenticationError())
            return
        answer = Event(EventType.READY)
        if self.features:
            self._negotiate(event, answer)
        self.ready = True
        self._since = self.clock.seconds()
        self.mux.control(answer)
        log.debug("client {address} is ready", address=self.address)

    def _negotiate(self, event: Event, answer: Event) -> None:
        answer.features = int(features.ALL)
        self.mux.replies = Feature.REPLIES in self.features
        if Feature.WINDOWS in self.features:
            self.mux.windows = True
            self.mux.remote_window = event.window or 0
            answer.window = self.limits.window
        if Feature.IDENTITY in self.features:
            self.key_pair = _identity(event.key)
            network = self.network()
            if network is self.server.network:
                self.key_pair = None
            answer.key = network.public_key

    def network(self) -> Any:
        """The network as this client is known in it: its own identity where there are such, else the server's."""
        if self._network is None:
            try:
                self._network = self.server.network.with_identity(self.key_pair)
            except NotSupportedError:
                self._network = self.server.network
        return self._network

    def reply(self, request: int | None, problem: BaseException | None = None) -> None:
        """Answer a request, if it is one that wants an answer."""
        if request is None or Feature.REPLIES not in self.features or self.lost:
            return
        event = Event(EventType.REPLY, request=request)
        if problem is not None:
            event.code, text = to_code(problem)
            event.data = text.encode()
        self.send(event)

    def _request(self, event: Event) -> int | None:
        return event.request if Feature.REPLIES in self.features else None

    # Topics.

    def _on_join(self, event: Event) -> None:
        if not self.ready:
            return
        request, topic = self._request(event), event.topic or b""
        try:
            membership = self._join(topic)
            fresh = self._set_roles(membership, self._roles(event))
        except (LimitError, NotSupportedError, DrainingError) as problem:
            self.server.note(self, problem)
            self._forget_empty(topic)
            self.reply(request, problem)
            return
        if not fresh and membership.lookup is not None:
            membership.lookup.refresh()
        if request is not None:
            self._reply_when_flushed(request, membership)

    def _join(self, topic: bytes) -> Membership:
        membership = self.memberships.get(topic)
        if membership is None:
            if self._drained:
                raise DrainingError()
            if len(self.memberships) >= self.limits.max_topics:
                raise LimitError("max_topics", self.limits.max_topics)
            membership = self.memberships[topic] = Membership(self, topic)
        return membership

    def _forget_empty(self, topic: bytes) -> None:
        membership = self.memberships.get(topic)
        if membership is not None and not membership.roles:
            del self.memberships[topic]

    def _roles(self, event: Event) -> Role:
        if Feature.ROLES in self.features and event.roles is not None:
            return Role(event.roles & 3)
        return Role.LOOKUP | Role.ANNOUNCE if self.server.announce else Role.LOOKUP

    def _set_roles(self, membership: Membership, roles: Role) -> bool:
        """:returns: whether anything is done now that was not done before."""
        added = roles & ~membership.roles
        if Role.LOOKUP in added:
            membership.start_lookup(self.server.lookups.join(membership.topic))
        elif Role.LOOKUP not in roles:
            self.server.settle(membership.stop_lookup())
        if Role.ANNOUNCE in added:
            membership.announcement = self._announce(membership.topic)
        elif Role.ANNOUNCE not in roles:
            self.server.settle(membership.stop_announcement())
        return bool(added)

    def _announce(self, topic: bytes) -> IAnnouncement:
        network = self.network()
        if network is self.server.network:
            raise NotSupportedError("this network has no identities for clients to be found by")
        if self._port is None:
            self._port = network.listen(Inbound(self))
            self.server.settle(self._port)
        announcement: IAnnouncement = network.announce(topic)
        return announcement

    def _reply_when_flushed(self, request: int, membership: Membership) -> None:
        parts = [part.flushed() for part in (membership.lookup, membership.announcement) if part is not None]

        def failed(failure: Failure) -> None:
            self.reply(request, failure.value.subFailure.value)

        done = DeferredList(parts, fireOnOneErrback=True, consumeErrors=True)
        done.addCallbacks(lambda _: self.reply(request), failed)

    def _on_leave(self, event: Event) -> None:
        if not self.ready:
            return
        request = self._request(event)
        membership = self.memberships.pop(event.topic or b"", None)
        if membership is None:
            self.reply(request)
            return
        left = membership.leave()
        left.addCallback(lambda _: self.reply(request))
        self.server.settle(left)

    # Peers.

    def peer_found(self, topic: bytes, peer: Peer) -> None:
        """A lookup's news: tell the client, unless it is itself."""
        if self._network is not None and peer.public_key is not None and peer.public_key == self._network.public_key:
            return
        wire_id = self._wire_id(peer, topic)
        if self._known is None:
            self._known = {}
        elif wire_id not in self._known and len(self._known) >= self.limits.max_peers:
            del self._known[next(iter(self._known))]
        self._known[wire_id] = (peer, topic)
        self.send(Event(EventType.ON_PEER, topic=topic, peer=wire_id))

    def _wire_id(self, peer: Peer, topic: bytes) -> bytes:
        """
        A TCP service has a name for each topic, as the JavaScript server gives it, unless the client knows better.
        """
        if peer.public_key is not None or Feature.REPLIES in self.features:
            return peer.id
        return b"%b:%b" % (peer.id, topic.hex().encode())

    def lookup_updated(self, topic: bytes) -> None:
        """A round of a lookup is complete."""
        self.send(Event(EventType.ON_UPDATED, topic=topic))

    def _find(self, wire_id: bytes) -> tuple[Peer, bytes] | None:
        """Whom an id means: someone we told of, or a public key; never an address of the client's own choosing."""
        known = self._known.get(wire_id) if self._known else None
        if known is None and Feature.REPLIES in self.features:
            peer = Peer.from_id(wire_id)
            if peer.public_key is not None:
                return peer, bytes(32)
        return known

    # Streams that the client asks for.

    def _on_connect(self, event: Event) -> None:
        if not self.ready:
            return
        request, wire_id = self._request(event), event.peer or b""
        found = self._find(wire_id)
        if found is None:
            self.reply(request, UnknownPeerError(wire_id.decode("utf-8", "replace")))
            return
        peer, topic = found
        # A JavaScript client asks again and again for a peer that it has; those with a key have one connection.
        if request is None and self._single is not None and peer.id in self._single:
            return
        refusal = DrainingError() if self._drained else self.server.stream_refused(self)
        if refusal is not None:
            self.server.note(self, refusal)
            self._failed(peer, topic, request, refusal)
            return
        self._dial(peer, topic, request)

    def _count(self, change: int) -> None:
        self.streams += change
        self.server.open_streams += change

    def _dial(self, peer: Peer, topic: bytes, request: int | None) -> None:
        dial = Dial(self, peer, topic, request, self.clock.seconds() + self.limits.connect_timeout)
        if self._dials is None:
            self._dials = set()
        self._dials.add(dial)
        self._count(+1)
        self._keep_single(peer, dial, request)
        self.server.stats.dials += 1
        dial.deferred = self.server.dial(self, peer, dial)
        dial.deferred.addCallbacks(self._dialled, self._dial_failed, callbackArgs=(dial,), errbackArgs=(dial,))

    def _dialled(self, relay: Relay, dial: Dial) -> None:
        if self._dials is not None:
            self._dials.discard(dial)

    def _dial_failed(self, failure: Failure, dial: Dial) -> None:
        assert self._dials is not None  # the dial itself was in it
        self._dials.discard(dial)
        self._count(-1)
        if self._single is not None and self._single.get(dial.peer.id) is dial:
            del self._single[dial.peer.id]
        self.server.stats.dials_failed += 1
        if self.lost:
            return
        problem: BaseException = failure.value
        if self.clock.seconds() >= dial.deadline:
            problem = ConnectTimeoutError(f"no answer in {self.limits.connect_timeout:g} s")
        self._failed(dial.peer, dial.topic, dial.request, problem)

    def _failed(self, peer: Peer, topic: bytes, request: int | None, problem: BaseException) -> None:
        """Tell of a failed CONNECT: by the reply, or, to who knows no better, OPEN, ERROR and CLOSE in this order."""
        if request is not None:
            self.reply(request, problem)
            return
        stream_id = self.mux.next_id()
        mux, wire_id = self.mux, self._wire_id(peer, topic)
        mux.control(Event(EventType.ON_STREAM_OPEN, topic=topic, peer=wire_id, stream=stream_id))
        mux.control(Event(EventType.ON_STREAM_ERROR, data=to_code(problem)[1].encode(), stream=stream_id))
        self.send(Event(EventType.ON_STREAM_CLOSE, stream=stream_id))

    def _keep_single(self, peer: Peer, who: Relay | Dial, request: int | None) -> None:
        if request is None and peer.public_key is not None and Feature.REPLIES not in self.features:
            if self._single is None:
                self._single = {}
            self._single[peer.id] = who

    # Streams that peers open.

    def accepts(self, peer: Peer) -> bytes | None:
        """:returns: the topic under which a peer's stream is passed on, or ``None``: it is refused."""
        announced = [topic for topic, membership in self.memberships.items() if membership.announcement is not None]
        if self._closing is not None or self._drained or not announced:
            return None
        refusal = self.server.stream_refused(self)
        if refusal is not None:
            self.server.note(self, refusal)
            return None
        if not self._yields(peer):
            return None
        self._count(+1)
        common = [topic for topic in announced if topic in peer.topics]
        return (common or announced)[0]

    def _yields(self, peer: Peer) -> bool:
        """For clients that can't tell: is this incoming connection the one of two that stays?"""
        existing = self._single.get(peer.id) if self._single else None
        if existing is None:
            return True
        own = self.network().public_key
        active = isinstance(existing, Relay) and existing.active
        if peer.public_key is None or own is None or not keep_new(own, peer.public_key, active, False):
            return False
        if isinstance(existing, Dial):
            existing.deferred.cancel()
        elif existing.stream is not None:
            self.mux.reset(existing.stream, DuplicateConnectionError())
            existing.give_up()
        return True

    # What relays tell.

    def relay_connected(self, relay: Relay) -> MuxStream | None:
        """A relay has its peer: give it a stream.  :returns: ``None`` when it is too late for that."""
        if self._closing is not None or self.lost:
            return None
        try:
            stream = self.mux.open()
        except LimitError as problem:
            self._failed(relay.peer, relay.topic, relay.request, problem)
            return None
        stream.owner = relay
        self._keep_single(relay.peer, relay, relay.request)
        self.server.stats.streams += 1
        self.send(
            Event(
                EventType.ON_STREAM_OPEN,
                topic=relay.topic,
                peer=self._wire_id(relay.peer, relay.topic),
                stream=stream.id,
                request=relay.request,
            )
        )
        return stream

    def peer_ended(self, relay: Relay) -> None:
        """
        The peer's end of data was passed on.  Who knows of replies ends the stream by itself; a JavaScript client
        may not.
        """
        if Feature.REPLIES in self.features or relay.stream is None or relay.stream.closed:
            return
        if self._half_closed is None:
            self._half_closed = {}
        self._half_closed[relay] = self.clock.seconds() + self.limits.half_close_grace
        if not self.limits.half_close_grace:
            self._close_half_closed(relay)

    def peer_gone(self, relay: Relay) -> None:
        """The peer is gone, in both directions."""
        assert relay.stream is not None  # it had one
        if Feature.REPLIES in self.features:
            self.mux.close(relay.stream)
        else:
            self.peer_ended(relay)

    def client_wrote(self, relay: Relay) -> None:
        """The client still has something to say to a peer that has ended."""
        if self._half_closed is not None and relay in self._half_closed:
            self._half_closed[relay] = self.clock.seconds() + self.limits.half_close_grace

    def _close_half_closed(self, relay: Relay) -> None:
        if self._half_closed is not None:
            self._half_closed.pop(relay, None)
        if relay.stream is not None and not relay.stream.closed:
            self.mux.close(relay.stream)
            relay.finish()
            self.flush()

    def linger(self, relay: Relay) -> None:
        """A relay whose stream is over still has something to write."""
        self.server.linger(relay)

    def relay_lost(self, relay: Relay) -> None:
        """A relay's connection to its peer is gone."""
        self.server.lingered(relay)
        self._count(-1)
        if self._half_closed is not None and (relay.stream is None or relay.stream.closed):
            self._half_closed.pop(relay, None)
        if self._single is not None and self._single.get(relay.peer.id) is relay:
            del self._single[relay.peer.id]


def _identity(key: bytes | None) -> KeyPair | None:
    """
    The identity that a READY asks for.

    :param key: nothing (a fresh one), a seed of 32 bytes or a secret key of 64.
    :raises EventError: another length.
    """
    if not key:
        return None
    if len(key) not in (SEED_LENGTH, SECRET_KEY_LENGTH):
        raise EventError("bad-key", f"{len(key)} bytes")
    return KeyPair.from_seed(key[:SEED_LENGTH])


def token_matches(token: bytes | None, accepted: tuple[bytes, ...]) -> bool:
    """Is it one of those?  Takes as long for every wrong one."""
    return any([hmac.compare_digest(token or b"", each) for each in accepted])

