"""The peers that one client of the server knows, and its connections to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from spaceswarm_proxy.errors import (
    ConnectTimeoutError,
    DrainingError,
    DuplicateConnectionError,
    LimitError,
    UnknownPeerError,
    to_code,
)
from spaceswarm_proxy.interfaces import TOPIC_LENGTH, Peer
from spaceswarm_proxy.proxy.features import Feature
from spaceswarm_proxy.proxy.relay import Dial, Relay
from spaceswarm_proxy.proxy.wire import Event, EventType, encode_open
from spaceswarm_proxy.swarm.duplicates import keep_new

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.mux import MuxStream
    from spaceswarm_proxy.proxy.server_link import ServerLink

#: Seconds after a peer's stream has broken off at which its topic is looked up again, for who connects only to peers of
#: whom it is told just then.  About as long as a swarm of ours tries by itself.
LOOK_AGAIN = (1.0, 6.0, 20.0)
#: Stands where a topic is expected and there is none: a connection to a peer that was found otherwise.
NO_TOPIC = bytes(TOPIC_LENGTH)


class Upstreams:
    """
    One for each link.  A connection is counted from the dial, or the peer's knock, until it is lost.

    Clients without *replies* are JavaScript ones, and need looking after: they ask again and again for a peer that
    they have, cannot tell two connections with one peer apart, do not close a stream that the peer has ended, and have
    no way to ask for a peer again that they have lost.
    """

    __slots__ = ("_again", "_dials", "_half_closed", "_known", "_link", "_single", "count")

    def __init__(self, link: ServerLink) -> None:
        self._link = link
        #: Connections to peers, open or being made.
        self.count = 0
        # The rest is made when it is needed: most clients need little of it, most of the time.
        # What the client was told of, by the id on the wire.
        self._known: dict[bytes, tuple[Peer, bytes]] | None = None
        self._dials: set[Dial] | None = None
        # For clients without replies: the one connection to each peer with a key.
        self._single: dict[bytes, Relay | Dial] | None = None
        # Relays whose peer has ended, and when that is passed on as CLOSE.
        self._half_closed: dict[Relay, float] | None = None
        # For clients without replies: topics to be looked up again, and when.
        self._again: dict[bytes, list[float]] | None = None

    @property
    def _replies(self) -> bool:
        return Feature.REPLIES in self._link.features

    # Peers.

    def found(self, topic: bytes, peer: Peer) -> bytes:
        """
        Remember a peer that the client is told of.

        :returns: its id on the wire.
        """
        wire_id = self._wire_id(peer, topic)
        if self._known is None:
            self._known = {}
        elif wire_id not in self._known and len(self._known) >= self._link.limits.max_peers:
            del self._known[next(iter(self._known))]
        self._known[wire_id] = (peer, topic)
        return wire_id

    def _wire_id(self, peer: Peer, topic: bytes) -> bytes:
        """A TCP service has a name for each topic, as from the JavaScript server, unless the client knows better."""
        if peer.public_key is not None or self._replies:
            return peer.id
        return b"%b:%b" % (peer.id, topic.hex().encode())

    def _find(self, wire_id: bytes) -> tuple[Peer, bytes] | None:
        """Whom an id means: someone we told of, or a public key; never an address of the client's own choosing."""
        known = self._known.get(wire_id) if self._known else None
        if known is None and self._replies:
            peer = Peer.from_id(wire_id)
            if peer.public_key is not None:
                return peer, NO_TOPIC
        return known

    # Connections that the client asks for.

    def is_dialling(self, public_key: bytes) -> bool:
        """Has the client asked for a connection with this peer that is still being made?"""
        return any(dial.peer.public_key == public_key for dial in self._dials or ())

    def connect(self, wire_id: bytes, request: int | None) -> None:
        """CONNECT: dial the peer, or say why not."""
        found = self._find(wire_id)
        if found is None:
            self._link.reply(request, UnknownPeerError(wire_id.decode("utf-8", "replace")))
            return
        peer, topic = found
        if self._single is not None and peer.id in self._single:
            return
        refusal = self._refusal()
        if refusal is None:
            self._dial(peer, topic, request)
        else:
            self._link.server.note(self._link, refusal)
            self._failed(peer, topic, request, refusal)

    def _refusal(self) -> Exception | None:
        """Why there can't be another connection."""
        return DrainingError() if self._link.server.draining else self._link.server.stream_refused(self.count)

    def _dial(self, peer: Peer, topic: bytes, request: int | None) -> None:
        link = self._link
        dial = Dial(link, peer, topic, request, link.clock.seconds() + link.limits.connect_timeout)
        if self._dials is None:
            self._dials = set()
        self._dials.add(dial)
        self._count(+1)
        self._keep_single(peer, dial)
        link.server.stats.dials += 1
        dial.deferred = link.server.dial(link, peer, dial)
        dial.deferred.addCallbacks(self._dialled, self._dial_failed, callbackArgs=(dial,), errbackArgs=(dial,))

    def _dialled(self, relay: Relay, dial: Dial) -> None:
        assert self._dials is not None  # the dial itself was in it
        self._dials.discard(dial)

    def _dial_failed(self, failure: Failure, dial: Dial) -> None:
        assert self._dials is not None  # the dial itself was in it
        self._dials.discard(dial)
        self._count(-1)
        self._forget_single(dial.peer, dial)
        link = self._link
        link.server.stats.dials_failed += 1
        duplicate = dial.superseded or (failure.check(DuplicateConnectionError) and not self._replies)
        if link.lost or duplicate:  # of a duplicate, the other one is told
            return
        problem: BaseException = failure.value
        if link.clock.seconds() >= dial.deadline:
            problem = ConnectTimeoutError(f"no answer in {link.limits.connect_timeout:g} s")
        self._failed(dial.peer, dial.topic, dial.request, problem)

    def _failed(self, peer: Peer, topic: bytes, request: int | None, problem: BaseException) -> None:
        """Tell of a failed CONNECT: by the reply, or, to who knows no better, OPEN, ERROR and CLOSE in this order."""
        link, mux = self._link, self._link.mux
        if self._replies:
            link.reply(request, problem)
            return
        stream_id = mux.next_id()
        mux.control(Event(EventType.ON_STREAM_OPEN, topic=topic, peer=self._wire_id(peer, topic), stream=stream_id))
        mux.control(Event(EventType.ON_STREAM_ERROR, data=to_code(problem)[1].encode(), stream=stream_id))
        link.send(Event(EventType.ON_STREAM_CLOSE, stream=stream_id))

    def _count(self, change: int) -> None:
        self.count += change
        self._link.server.open_streams += change
        if not self.count and self._link.lost:
            self._link.done_with_peers()

    # Connections that peers open.

    def accepts(self, peer: Peer) -> bytes | None:
        """
        :returns: the topic under which a peer's stream is passed on, or ``None``: it is refused.
        :raises DuplicateConnectionError: it is refused for the sake of one that there is.
        """
        link = self._link
        announced = link.announced()
        if link.closing or not (announced or link.takes_streams):
            return None
        refusal = self._refusal()
        if refusal is not None:
            link.server.note(link, refusal)
            return None
        self._make_way(peer)
        return self._topic_of(peer, announced)

    def _topic_of(self, peer: Peer, announced: list[bytes]) -> bytes:
        """
        Under which topic a peer has come: one that the network says, or under which the client has found it too, or
        else the first that it could have been.
        """
        known = self._known.get(peer.id) if self._known else None
        topics = {*peer.topics, known[1]} if known else peer.topics
        return next((topic for topic in announced if topic in topics), announced[0] if announced else NO_TOPIC)

    def _make_way(self, peer: Peer) -> None:
        """For clients that can't tell: of two connections with one peer, one stays, the same at both ends."""
        existing = self._single.get(peer.id) if self._single else None
        if existing is None:
            return
        own = self._link.network().public_key
        active = isinstance(existing, Relay) and existing.active
        if peer.public_key is None or own is None or not keep_new(own, peer.public_key, active, False):
            raise DuplicateConnectionError
        if isinstance(existing, Dial):
            existing.superseded = True
            existing.deferred.cancel()
        elif existing.stream is not None:
            self._link.mux.reset(existing.stream, DuplicateConnectionError())
            existing.give_up()

    def _keep_single(self, peer: Peer, who: Relay | Dial) -> None:
        if peer.public_key is not None and not self._replies:
            if self._single is None:
                self._single = {}
            self._single[peer.id] = who

    def _forget_single(self, peer: Peer, who: Relay | Dial) -> None:
        if self._single is not None and self._single.get(peer.id) is who:
            del self._single[peer.id]

    # What relays tell.

    def connected(self, relay: Relay) -> MuxStream | None:
        """A relay has its peer: give it a stream.  :returns: ``None`` when it is too late for that."""
        link = self._link
        if relay.inbound:
            self._count(+1)
        stream = None if link.closing else self._open(relay)
        if relay.keys is not None:
            link.identity.took(relay.keys, stream is not None)
        return stream

    def _open(self, relay: Relay) -> MuxStream | None:
        link = self._link
        try:
            stream = link.mux.open()
        except LimitError as problem:
            self._failed(relay.peer, relay.topic, relay.request, problem)
            return None
        stream.owner = relay
        stream.tell_done = False
        self._keep_single(relay.peer, relay)
        link.server.stats.streams += 1
        wire_id = self._wire_id(relay.peer, relay.topic)
        number = None if relay.keys is None else relay.keys.number
        link.mux.control_frame(encode_open(relay.topic, wire_id, stream.trailer, relay.request, number))
        link.flush()
        return stream

    def ended(self, relay: Relay) -> None:
        """The peer's end of data was passed on; who has *replies* ends the stream by itself."""
        if self._replies or relay.stream is None or relay.stream.closed:
            return
        grace = self._link.limits.half_close_grace
        if not grace:
            self._close_half_closed(relay)
            return
        if self._half_closed is None:
            self._half_closed = {}
        self._half_closed[relay] = self._link.clock.seconds() + grace

    def gone(self, relay: Relay) -> None:
        """The peer is gone, in both directions and good order."""
        assert relay.stream is not None  # it had one
        if self._replies:
            self._link.mux.close(relay.stream)
        else:
            self.ended(relay)

    def torn(self, relay: Relay) -> None:
        """The peer's stream has broken off; it may be back soon."""
        if not self._replies:
            now = self._link.clock.seconds()
            if self._again is None:
                self._again = {}
            self._again[relay.topic] = [now + delay for delay in LOOK_AGAIN]

    def answered(self, relay: Relay) -> None:
        """The client still has something to say to a peer that has ended."""
        if self._half_closed is not None and relay in self._half_closed:
            self._half_closed[relay] = self._link.clock.seconds() + self._link.limits.half_close_grace

    def _close_half_closed(self, relay: Relay) -> None:
        if self._half_closed is not None:
            self._half_closed.pop(relay, None)
        if relay.stream is not None and not relay.stream.closed:
            self._link.mux.close(relay.stream)
            relay.finish()
            self._link.flush()

    def lost(self, relay: Relay) -> None:
        """A relay's connection to its peer is gone."""
        if relay.stream is not None and relay.stream.closed:
            relay.stream.owner = None
        self._count(-1)
        if self._half_closed is not None and (relay.stream is None or relay.stream.closed):
            self._half_closed.pop(relay, None)
        self._forget_single(relay.peer, relay)
        self._link.server.lingered(relay)

    # Time, and the end.

    def tick(self, now: float) -> None:
        """Give up dials that take too long, and close what the client leaves half closed."""
        for dial in [dial for dial in self._dials or () if now >= dial.deadline]:
            dial.deferred.cancel()
        for relay in [relay for relay, when in (self._half_closed or {}).items() if now >= when]:
            self._close_half_closed(relay)
        if self._again:
            self._look_again(now)

    def _look_again(self, now: float) -> None:
        again, self._again = self._again or {}, None
        for topic, times in again.items():
            membership = self._link.memberships.get(topic)
            if now >= times[0] and membership is not None and membership.lookup is not None:
                membership.lookup.refresh()
        left = {topic: [when for when in times if when > now] for topic, times in again.items()}
        self._again = {topic: times for topic, times in left.items() if times}

    def abandon(self) -> None:
        """The link is gone; so are its dials.  The relays have been told, each by its stream."""
        for dial in tuple(self._dials or ()):
            dial.deferred.cancel()
        self._half_closed = self._again = None
