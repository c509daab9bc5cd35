"""
A server: waits for clients under its public key.

It keeps a table of handshakes.  A message that is there already is a repetition, or has come through another relay,
and must not lead to a second connection; whatever is new is counted before anything is computed.

:source: npm ``hyperdht`` 6; spec/connect.md, sections 6.1 and 6.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.dht.contact import HOST_LENGTH
from spaceswarm_proxy.dht.forwarding import Mode
from spaceswarm_proxy.peering.admission import Admission, AdmissionLimits
from spaceswarm_proxy.peering.announcer import Announcer
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.noise_payload import NoisePayload
from spaceswarm_proxy.peering.punching import Veto
from spaceswarm_proxy.peering.room import RelayChoice, Room
from spaceswarm_proxy.peering.router import HandshakeArrival, HolepunchArrival
from spaceswarm_proxy.peering.server_handshake import ServerHandshake

#: Told whether a client is refused, and the time; may be called later, and counts once.
Decide = Callable[[bool, float], None]
#: Takes a connection that has come about, and the time.
Accept = Callable[[Connection, float], None]


class ClientFirewall(Protocol):
    """Decides who may connect."""

    def __call__(
        self, remote_public_key: bytes, payload: NoisePayload, address: bytes, decide: Decide, now: float
    ) -> None:
        """
        :param payload: what the client says of itself.
        :param address: where it is, as far as is known: six bytes.
        :param decide: to be told, at once or later; a client that is refused hears nothing.
        """


def everybody(remote_public_key: bytes, payload: NoisePayload, address: bytes, decide: Decide, now: float) -> None:
    """A firewall that refuses nobody."""
    decide(False, now)


@dataclass(frozen=True)
class ListenOptions:
    """How a server is to behave."""

    firewall: ClientFirewall = everybody
    #: Tell clients of our addresses in local networks.
    share_local_address: bool = True
    #: Punch holes at all.
    punches: bool = True
    #: May refuse to punch for a client.
    veto: Veto | None = None
    #: Later connections with the same peer may use this one's socket.
    reusable_socket: bool = False
    #: Public keys of blind relays, of which one is proposed to each client; with none, whatever the client proposes.
    relay_through: RelayChoice = ()
    limits: AdmissionLimits = field(default_factory=AdmissionLimits)


class Listener:
    """A server of the node."""

    def __init__(
        self,
        room: Room,
        keeper: Keeper,
        accept: Accept,
        options: ListenOptions,
        now: float,
    ) -> None:
        """
        :param keeper: keeps the key that the server is known by.
        :param accept: told of every connection.
        """
        self.room = room
        self.keeper = keeper
        self.options = options
        self.announcer = Announcer(room.node, room.schedule, room.pulses, keeper)
        self.admission = Admission(options.limits, now)
        self.closed = False
        self.suspended = False
        self._accept = accept
        self._by_id: dict[int, ServerHandshake] = {}
        self._by_key: dict[bytes, ServerHandshake] = {}
        # By the ids of the streams that they have come to.
        self._by_stream: dict[int, ServerHandshake] = {}
        # Ids that were free again, the lowest first; it has all below the number of those in use and free.
        self._free: list[int] = []

    @property
    def public_key(self) -> bytes:
        """What clients know the server by: 32 bytes."""
        return self.keeper.public_key

    @property
    def target(self) -> bytes:
        """What nodes know the server by: the hash of its key."""
        return self.announcer.target

    def __len__(self) -> int:
        """:returns: how many handshakes are remembered."""
        return len(self._by_key)

    # What the router brings.

    def handshake(self, arrival: HandshakeArrival, now: float) -> bool:
        """:returns: whether it may be answered; where not, it was refused at once."""
        if self.closed or self.suspended:
            return False
        key = hash32(arrival.value.noise)
        known = self._by_key.get(key)
        if known is not None:
            return known.repeat(arrival, now)
        host = self._accountable(arrival)
        return self.admission.admit(host, now) and self._begin(key, host, arrival, now)

    def _begin(self, key: bytes, host: bytes, arrival: HandshakeArrival, now: float) -> bool:
        handshake = ServerHandshake(self, self._take_id(), key, host)
        # It has its place before anybody is asked, who may take his time.
        self._by_id[handshake.id] = self._by_key[key] = handshake
        handshake.begin(arrival, now)
        return key in self._by_key

    def holepunch(self, arrival: HolepunchArrival, now: float) -> bool:
        """:returns: whether it may be answered."""
        if self.closed or self.suspended:
            return False
        handshake = self._by_id.get(arrival.value.id)
        return handshake is not None and handshake.holepunch(arrival, now)

    def _accountable(self, arrival: HandshakeArrival) -> bytes:
        """
        :returns: the host that a handshake counts against: the first on its way that we need not take on trust.

        Our relays are trusted to say whom they have heard; a stranger could name another client each time.
        """
        if arrival.is_direct or not self.announcer.is_relay(arrival.source):
            return arrival.source[:HOST_LENGTH]
        value = arrival.value
        address = value.relay_address if value.mode == Mode.FROM_SECOND_RELAY else value.peer_address
        assert address is not None
        return address[:HOST_LENGTH]

    def heard(self, connection: Connection) -> None:
        """The client of a connection was heard on it: it counts as a stranger no more."""
        handshake = self._by_stream.get(connection.raw.id)
        if handshake is not None:
            handshake.heard()

    # What handshakes ask for.

    def connected(self, connection: Connection, handshake: ServerHandshake, now: float) -> None:
        """A handshake has come to a connection."""
        self._by_stream[connection.raw.id] = handshake
        self._accept(connection, now)

    def forget(self, handshake: ServerHandshake) -> None:
        """A handshake is over, and nobody asks after it any more."""
        if self._by_id.pop(handshake.id, None) is not None:
            del self._by_key[handshake.key]
            heappush(self._free, handshake.id)
        if handshake.stream_id is not None:
            self._by_stream.pop(handshake.stream_id, None)

    def _take_id(self) -> int:
        return heappop(self._free) if self._free else len(self._by_id)

    # Life.

    def start(self, listening: Callable[[float], None], now: float) -> None:
        """
        Announce the server.

        :param listening: called once, when that is done.
        """
        self.announcer.start(listening, now)

    def suspend(self, done: Callable[[float], None], now: float) -> None:
        """
        Be gone, until :meth:`resume`: handshakes under way come to nothing.

        :param done: called when the relays know, or do not answer.
        """
        self.suspended = True
        self._destroy_all(now)
        self.announcer.leave(done, now)

    def resume(self, now: float) -> None:
        """Undo :meth:`suspend`."""
        if self.suspended and not self.closed:
            self.suspended = False
            self.announcer.resume(now)

    def close(self, done: Callable[[float], None], now: float) -> None:
        """
        Be gone for ever; connections that were accepted stay.

        :param done: called when the relays know, or do not answer.
        """
        self.closed = True
        self._destroy_all(now)
        self.announcer.leave(done, now)

    def _destroy_all(self, now: float) -> None:
        for handshake in list(self._by_id.values()):
            handshake.destroy(now)
