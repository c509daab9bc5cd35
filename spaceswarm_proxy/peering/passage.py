"""
One end's stream while a way to the other end is looked for: the first one is taken.

Ways are found by several at a time: by a packet of the other end, by hole punching, in the local network, by simply
knowing the address.  A way through a relay is taken as well, and exchanged for a direct one when there is one.

:source: npm ``hyperdht`` 6 (``onsocket``); spec/connect.md, sections 6.1, 6.2 and 7.
"""

from __future__ import annotations

from typing import Protocol

from spaceswarm_proxy.dht.contact import HOST_LENGTH
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.connection import Connection, Keys
from spaceswarm_proxy.peering.noise_payload import NoisePayload, RelayThrough
from spaceswarm_proxy.peering.relaying import Appointment
from spaceswarm_proxy.peering.room import Room

_NO_PORT = b"\x00\x00"


class Seeker(Protocol):
    """Whoever looks for a way."""

    def connected(self, connection: Connection, now: float) -> None:
        """There is a way: the first one."""

    def arrived(self, now: float) -> None:
        """There is a direct way, perhaps after a relayed one: look no further.  Called before ``connected``."""

    def not_met(self, problem: SpaceswarmError, now: float) -> None:
        """There is no way through the relay."""

    def ended(self, now: float) -> None:
        """The stream has come to its end on its way through the relay: look no further."""


class Passage:
    """A raw stream that is to be connected."""

    def __init__(self, room: Room, seeker: Seeker, initiator: bool, reusable_socket: bool) -> None:
        """
        :param initiator: are we the client?
        :param reusable_socket: may later connections use the stream's socket?
        :raises SpaceswarmError: there can be no more streams.
        """
        self.raw = room.streams.create(self._packet_came)
        #: Is there a connection, of either kind?
        self.taken = False
        self._room = room
        self._seeker = seeker
        self._initiator = initiator
        self._reusable_socket = reusable_socket
        self._keys: Keys | None = None
        self._payload = NoisePayload()
        # Where a packet came from before we had the keys for it, and the socket.
        self._early: tuple[int, bytes] | None = None
        self._appointment: Appointment | None = None
        self._over = False

    @property
    def is_meeting(self) -> bool:
        """Is somebody waited for at a relay?"""
        return self._appointment is not None and not self.taken

    def agree(self, keys: Keys, payload: NoisePayload) -> None:
        """
        The handshake has come to its end: ways can be taken.

        :param payload: what the other side has said; with the number of its stream.
        """
        self._keys = keys
        self._payload = payload

    def take_early(self, now: float) -> bool:
        """:returns: whether a packet came before the keys: its way is taken."""
        if self._early is not None:
            self.take(*self._early, now)
        return self._early is not None

    def take(self, socket: int, address: bytes, now: float) -> None:
        """Here is a direct way."""
        keys, udx = self._keys, self._payload.udx
        if self._over or self.raw.closed or keys is None or udx is None:
            return
        self._over = True
        if self._reusable_socket and udx.reusable_socket:
            self._room.routes.add(keys.remote_public_key, socket, address)
        if self.taken:
            self.raw.change_remote(socket, udx.id, address, now)
            if self._appointment is not None:
                self._appointment.upgraded(now)
            self._seeker.arrived(now)
        else:
            self.raw.connect(socket, udx.id, address, now)
            self._leave_relay(now)
            self.taken = True
            self._seeker.arrived(now)
            self._connected(keys, socket, address, False, now)

    def _connected(self, keys: Keys, socket: int, address: bytes, relayed: bool, now: float) -> None:
        connection = Connection(self.raw, keys, self._initiator, socket, address, self._payload, relayed)
        self._seeker.connected(connection, now)

    def _packet_came(self, socket: int, address: bytes, now: float) -> bool:
        """The stream's firewall."""
        if address[HOST_LENGTH:] == _NO_PORT:
            return True
        if self._appointment is not None and self._appointment.is_relay(socket, address):
            return False
        if self._keys is None:
            self._early = socket, address
        else:
            self.take(socket, address, now)
        return False

    # Through a relay.

    def meet(self, place: RelayThrough, is_initiator: bool, now: float) -> None:
        """
        Go to a relay as well.

        :param is_initiator: has this side proposed it?
        """
        if self._room.relaying is not None and not self._over:
            relaying = self._room.relaying
            self._appointment = relaying.meet(place, is_initiator, self.raw, self._met, self._not_met, now)
            self._appointment.ended = self._ended

    def _met(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        if self._over or self.raw.closed:
            self._leave_relay(now)
            return
        assert self._keys is not None
        self.raw.connect(socket, remote_id, address, now)
        self.taken = True
        self._connected(self._keys, socket, address, True, now)

    def _not_met(self, problem: SpaceswarmError, now: float) -> None:
        self._appointment = None
        if not self._over:
            self._seeker.not_met(problem, now)

    def _ended(self, now: float) -> None:
        if not self._over:
            self._over = True
            self._seeker.ended(now)

    def _leave_relay(self, now: float) -> None:
        if self._appointment is not None:
            self._appointment.cancel(now)
            self._appointment = None

    # The end.

    def close(self, now: float) -> None:
        """No other way is taken any more; without one, the stream ends."""
        if not self._over:
            self._over = True
            if not self.taken:
                self._leave_relay(now)
                self.raw.destroy(now)
