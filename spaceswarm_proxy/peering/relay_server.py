"""
A blind relay: couples the streams of peers that name the same token.

Each token has two places, the initiator's and the other one's.  Who comes first waits; when the second comes, a raw
stream is made for each of the two, every packet for the one goes out of the other, and both peers are told the number
of theirs.  A stream learns where its peer is from the first packet that comes for it.

Everything that a peer can have here is bounded: what it waits for and is coupled with, what all wait for together, and
for how long.  Whoever is refused something is told so at once.

:source: npm ``blind-relay`` 1.6; spec/connect.md, section 9.2; spec/udx.md, section 12.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.blind_relay import PROTOCOL, Pair, RelayMessage, Unpair
from spaceswarm_proxy.peering.protomux import Channel, Mux
from spaceswarm_proxy.peering.raw import Firewall


class RelayStream(Protocol):
    """One of two raw streams that hand each other their packets."""

    #: What packets to it carry: 32 bits, random.
    id: int

    def relay_to(self, other: RelayStream) -> None:
        """From now on, send whatever comes for this stream to whomever the other one is connected to."""

    def connect(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        """Say where its peer is."""

    def destroy(self, now: float) -> None:
        """Forget it; nobody is sent anything, or told.  What is over already stays so."""


class RelayStreams(Protocol):
    """Makes such streams."""

    def create(self, firewall: Firewall, ended: Callable[[float], None]) -> RelayStream:
        """
        :param firewall: asked about packets that come before the stream is connected, or on another socket.
        :param ended: told when the stream is over, and not by :meth:`RelayStream.destroy`: its peer has destroyed it.
            Not told from inside a call.
        :raises SpaceswarmError: there can be no more.
        """


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What peers may have of a relay."""

    #: Peers that are connected.
    max_peers: int = 4096
    #: Places of one connection, waiting or coupled.
    max_places: int = 64
    #: Places that wait, of all connections.
    max_waiting: int = 4096
    #: Couples, of all connections.
    max_couples: int = 4096
    #: Seconds that a place waits for the other one; a peer gives up after 15.
    pairing_timeout: float = 30.0


class _Place:
    """One side of a couple, or of one to be."""

    __slots__ = ("connected", "deadline", "pair", "partner", "session", "stream")

    def __init__(self, session: RelaySession, pair: Pair, deadline: float) -> None:
        self.session = session
        self.pair = pair
        self.deadline = deadline
        self.connected = False
        self.partner: _Place | None = None
        self.stream: RelayStream | None = None

    def first_packet(self, socket: int, address: bytes, now: float) -> bool:
        """The stream's firewall: its peer is where its first packet comes from."""
        if self.stream is None or self.connected:
            return True
        self.connected = True
        self.stream.connect(socket, self.pair.stream_id, address, now)
        return False

    def close_stream(self, now: float) -> None:
        """Let go of the stream."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.destroy(now)

    def tell(self, type: RelayMessage, message: Pair | Unpair) -> None:
        """Say something to the peer."""
        self.session.channel.send(type, message.encode())


class RelaySession:
    """One peer's connection with the relay."""

    def __init__(self, server: RelayServer, mux: Mux, public_key: bytes, now: float) -> None:
        """:param public_key: the peer's."""
        self.public_key = public_key
        #: By token.
        self.places: dict[bytes, _Place] = {}
        self._server = server
        self.channel = mux.open(PROTOCOL, public_key, self, now)

    def close(self, now: float) -> None:
        """End it, and all that it has."""
        self.channel.close()
        self._server._left(self, now)

    # What the channel tells.

    def opened(self, channel: Channel, handshake: bytes, now: float) -> None:
        """The peer is there, to be answered in this channel; what it asks for comes next."""
        self.channel = channel

    def received(self, channel: Channel, type: int, body: bytes, now: float) -> None:
        """The peer wants a place, or gives one up."""
        if type == RelayMessage.PAIR:
            self._server._pair(self, Pair.parse(body), now)
        elif type == RelayMessage.UNPAIR:
            self._server._unpair(self, Unpair.parse(body).token, now)

    def closed(self, channel: Channel, problem: SpaceswarmError | None, now: float) -> None:
        """The peer has left."""
        self._server._left(self, now)


class RelayServer:
    """The relay, for any number of connections."""

    def __init__(self, streams: RelayStreams, limits: RelayLimits | None = None) -> None:
        self.limits = limits or RelayLimits()
        #: Peers that are connected.
        self.sessions: set[RelaySession] = set()
        #: Couples that there are now.
        self.couples = 0
        #: Places that were taken; couples that were made; places that were given up, were refused, or got too old.
        self.requested = 0
        self.matched = 0
        self.cancelled = 0
        self.refused = 0
        self.expired = 0
        self._streams = streams
        #: By token: who waits for the other one.  The oldest first.
        self._waiting: dict[bytes, _Place] = {}

    @property
    def waiting(self) -> int:
        """Places whose other one nobody has taken yet."""
        return len(self._waiting)

    def accept(self, mux: Mux, public_key: bytes, now: float) -> RelaySession:
        """
        Serve a peer until it leaves; the mux's end is its session's end.

        :param public_key: the peer's.
        :raises SpaceswarmError: the connection takes no further channel.
        """
        session = RelaySession(self, mux, public_key, now)
        if not session.channel.closed:
            self.sessions.add(session)
        return session

    def close(self, now: float) -> None:
        """End all sessions."""
        for session in list(self.sessions):
            session.close(now)

    def next_deadline(self) -> float | None:
        """:returns: when :meth:`advance` has something to do, in seconds."""
        return next((place.deadline for place in self._waiting.values()), None)

    def advance(self, now: float) -> None:
        """Give up what nobody has come for."""
        while self._waiting:
            place = next(iter(self._waiting.values()))
            if place.deadline > now:
                break
            self.expired += 1
            self._forget(place)
            place.tell(RelayMessage.UNPAIR, Unpair(place.pair.token))

    # What peers ask for.

    def _pair(self, session: RelaySession, pair: Pair, now: float) -> None:
        other = self._waiting.get(pair.token)
        if pair.token in session.places or (other is not None and other.pair.initiator == pair.initiator):
            return
        place = _Place(session, pair, now + self.limits.pairing_timeout)
        if not self._has_room(session, other):
            self._refuse(place)
            return
        self.requested += 1
        session.places[pair.token] = place
        if other is None:
            self._waiting[pair.token] = place
        else:
            del self._waiting[pair.token]
            self._couple(other, place, now)

    def _has_room(self, session: RelaySession, other: _Place | None) -> bool:
        if len(session.places) >= self.limits.max_places:
            return False
        if other is None:
            return len(self._waiting) < self.limits.max_waiting
        return self.couples < self.limits.max_couples

    def _refuse(self, place: _Place) -> None:
        self.refused += 1
        place.tell(RelayMessage.UNPAIR, Unpair(place.pair.token))

    def _couple(self, one: _Place, other: _Place, now: float) -> None:
        try:
            streams = self._create(one, now), self._create(other, now)
        except SpaceswarmError:
            for place in (one, other):
                place.close_stream(now)
                del place.session.places[place.pair.token]
            self._refuse(one)
            self._refuse(other)
            return
        one.partner, other.partner = other, one
        streams[0].relay_to(streams[1])
        streams[1].relay_to(streams[0])
        self.matched += 1
        self.couples += 1
        for place, stream in zip((one, other), streams, strict=True):
            place.tell(RelayMessage.PAIR, Pair(place.pair.initiator, place.pair.token, stream.id))

    def _create(self, place: _Place, now: float) -> RelayStream:
        def ended(now: float) -> None:
            self._part(place, now)

        place.stream = self._streams.create(place.first_packet, ended)
        return place.stream

    def _unpair(self, session: RelaySession, token: bytes, now: float) -> None:
        place = session.places.get(token)
        if place is not None:
            self.cancelled += 1
            self._leave(place, now)

    def _left(self, session: RelaySession, now: float) -> None:
        self.sessions.discard(session)
        for place in list(session.places.values()):
            self.cancelled += 1
            self._leave(place, now)

    # How places end.

    def _leave(self, place: _Place, now: float) -> None:
        if place.partner is not None:
            self._part(place, now)
        else:
            self._forget(place)

    def _forget(self, place: _Place) -> None:
        del self._waiting[place.pair.token]
        del place.session.places[place.pair.token]

    def _part(self, place: _Place, now: float) -> None:
        """A couple ends: neither stream is of use without the other."""
        partner = place.partner
        if partner is None:
            return
        self.couples -= 1
        for each in (place, partner):
            each.partner = None
            each.close_stream(now)
            del each.session.places[each.pair.token]
