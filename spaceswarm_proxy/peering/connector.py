"""
A client's attempt to connect to a server.

::

    search      a node that knows the server passes our handshake on, and the answer back       search.py
    decision    which ways there can be, from what both sides know of themselves
    ways        straight to it | it comes to us | in the local network | hole punching | a relay

:source: npm ``hyperdht`` 6; spec/connect.md, sections 6.2 to 6.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.contact import HOST_LENGTH, is_shunned
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.sockets import SERVER_SOCKET
from spaceswarm_proxy.errors import CannotHolepunchError, HolepunchAbortedError, SpaceswarmError
from spaceswarm_proxy.peering.asking import Asking
from spaceswarm_proxy.peering.client_handshake import Answer, ClientHandshake
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.holepunch_client import HolepunchClient, PunchTarget
from spaceswarm_proxy.peering.holepunch_payload import SecurePayload
from spaceswarm_proxy.peering.local_addresses import is_bogon, is_reserved, nearest
from spaceswarm_proxy.peering.noise_payload import (
    VERSION,
    Firewall,
    HolepunchInfo,
    NoisePayload,
    RelayThrough,
    UDXInfo,
)
from spaceswarm_proxy.peering.passage import Passage
from spaceswarm_proxy.peering.punching import Veto
from spaceswarm_proxy.peering.room import Room
from spaceswarm_proxy.peering.schedule import Delayed
from spaceswarm_proxy.peering.search import Search

#: Seconds that a server has to come to us, when it is to; and in which one in the local network mostly answers, so that
#: no holes need to be punched.
PASSIVE_TIMEOUT = 10.0
LOCAL_HEAD_START = 0.03

#: Told of the connection, or why there is none, and the time.
Done = Callable[[Connection | SpaceswarmError, float], None]


@dataclass(frozen=True)
class ConnectOptions:
    """How to connect to a server."""

    #: Nodes that may know the way: six bytes each.
    relay_addresses: Sequence[bytes] = ()
    #: Try the local network, and tell the server of our addresses there.
    local_connection: bool = True
    #: Let the server send to us before both know what they are behind.
    fast_open: bool = True
    #: May refuse to punch.
    veto: Veto | None = None
    #: Later connections with the same peer may use this one's socket.
    reusable_socket: bool = False
    #: Public keys of blind relays, one of which is proposed to the server.
    relay_through: Sequence[bytes] = ()
    #: Go to a blind relay, if either side proposes one.
    follows_relays: bool = True


class Connector:
    """One attempt."""

    def __init__(
        self,
        room: Room,
        public_key: bytes,
        keeper: Keeper,
        done: Done,
        options: ConnectOptions,
        ended: Callable[[Connector], None],
    ) -> None:
        """
        :param public_key: the server's, 32 bytes.
        :param keeper: keeps the key that we are known by.
        :param done: called once.  A connection through a relay goes on looking for a direct way after that.
        :param ended: told when nothing is left of the attempt.
        """
        self.public_key = public_key
        self._room = room
        self._keeper = keeper
        self._done: Done | None = done
        self._options = options
        self._ended: Callable[[Connector], None] | None = ended
        self._target = hash32(public_key)
        self._relay: RelayThrough | None = None
        self._firewall = Firewall.UNKNOWN
        self._asking = Asking(room.node)
        # Until its keys are used.
        self._handshake: ClientHandshake | None = None
        self._passage: Passage | None = None
        self._search: Search | None = None
        self._holepunch: HolepunchClient | None = None
        self._timer: Delayed | None = None
        # Why the latest of the ways does not lead there.
        self._problem: SpaceswarmError = HolepunchAbortedError()

    def start(self, now: float) -> None:
        """Begin; it may be done at once, if it can't be done now."""
        try:
            self._room.node.check_open()
            self._passage = Passage(self._room, self, True, self._options.reusable_socket)
        except SpaceswarmError as problem:
            self.give_up(problem, now)
            return
        kept = self._keeper.handshake(self._room.profile, self.public_key)
        self._handshake = ClientHandshake(kept, self.public_key)
        self._handshake.write(self._own_payload(self._passage.raw.id), self._written, now)

    def _written(self, message: bytes | SpaceswarmError, now: float) -> None:
        """The first message is there, or there will be none."""
        handshake = self._handshake
        if handshake is None or self._search is not None:
            return
        if isinstance(message, SpaceswarmError):
            self.give_up(message, now)
            return
        self._search = Search(self._room, handshake, self._target, message, self._found, self.give_up)
        # It comes back with the connection, if it is still one.
        route = self._room.routes.pop(self.public_key) if self._options.reusable_socket else None
        self._search.start(route, self._known_relays(now), now)

    def cancel(self, now: float) -> None:
        """Look for no way any more, and tell nobody; a connection that was handed over stays."""
        self._done = None
        self._end(now)

    def give_up(self, problem: SpaceswarmError, now: float) -> None:
        """It can't be done."""
        done, self._done = self._done, None
        self._end(now)
        if done is not None:
            done(problem, now)

    def _end(self, now: float) -> None:
        self._stop_seeking(now)
        if self._search is not None:
            self._search.stop()
        if self._passage is not None:
            self._passage.close(now)
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.close()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self)

    def _stop_seeking(self, now: float) -> None:
        self._asking.forget()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._holepunch is not None:
            self._holepunch.close(now)
            self._holepunch = None

    # The search.

    def _own_payload(self, stream_id: int) -> NoisePayload:
        own = self._room.node.reachable_address
        self._firewall = Firewall.UNKNOWN if own is None else Firewall.OPEN
        addresses = [] if own is None else [own]
        if self._options.local_connection:
            addresses += self._room.local_addresses()
        self._relay = self._room.choose_relay(self._options.relay_through)
        return NoisePayload(
            firewall=self._firewall,
            addresses4=tuple(addresses),
            udx=UDXInfo(stream_id, self._options.reusable_socket),
            secret_stream=VERSION,
            relay_through=self._relay,
        )

    def _known_relays(self, now: float) -> Sequence[bytes]:
        """:returns: who may know the way: the server itself, if it has announced itself to us."""
        store = self._room.node.store
        forward = None if store is None else store.forward(self._target, now)
        if forward is not None and forward.relay is not None:
            return (forward.relay,)
        return self._options.relay_addresses or self._room.relay_cache.get(self.public_key) or ()

    def _found(self, answer: Answer, now: float) -> None:
        """The server has answered: the way that it has taken first is the best one, if it has taken one."""
        passage = self._passage
        assert passage is not None
        passage.agree(answer.keys, answer.payload)
        place = answer.payload.relay_through or self._relay
        if place is not None and self._options.follows_relays:
            passage.meet(place, place is self._relay, now)
        if passage.take_early(now):
            return
        if answer.is_relayed:
            self._decide(answer, now)
        else:
            socket = self._room.node.request_socket if answer.socket is None else answer.socket
            passage.take(socket, answer.relay_address, now)

    # Which way.

    def _decide(self, answer: Answer, now: float) -> None:
        assert self._passage is not None
        info = answer.payload.holepunch
        relayed = answer.server_address != answer.relay_address
        punches = info is not None and bool(info.relays)
        if answer.payload.firewall == Firewall.OPEN or (relayed and not punches):
            self._go_there(answer, now)
        elif self._firewall == Firewall.OPEN:
            self._timer = self._room.schedule.call_at(now + PASSIVE_TIMEOUT, self._nobody_came)
        elif info is None or not punches:
            self._lost(CannotHolepunchError(), now)
        else:
            punch = partial(self._punch, answer, info)
            if relayed and self._options.local_connection and self._try_locally(answer, now):
                self._timer = self._room.schedule.call_at(now + LOCAL_HEAD_START, punch)
            else:
                punch(now)

    def _go_there(self, answer: Answer, now: float) -> None:
        """The server can be reached, or there is no other way to try: at its first address that means something."""
        assert self._passage is not None
        addresses = (address for address in answer.payload.addresses4 if not is_bogon(address))
        address = next(addresses, answer.server_address)
        if is_shunned(address):
            self._lost(CannotHolepunchError("the server's address is none"), now)
        else:
            self._passage.take(self._room.node.request_socket, address, now)

    def _nobody_came(self, now: float) -> None:
        self._timer = None
        self._lost(HolepunchAbortedError("the server has not come"), now)

    def _try_locally(self, answer: Answer, now: float) -> bool:
        """
        Both sides have the same address from outside: the server may be in our local network.

        :returns: whether it is asked there.
        """
        addresses = answer.payload.addresses4
        theirs = [address for address in addresses if not is_reserved(address) and not is_shunned(address)]
        if not theirs or answer.client_address[:HOST_LENGTH] != answer.server_address[:HOST_LENGTH]:
            return False
        candidate = nearest(self._room.local_addresses(), theirs) or theirs[0]

        def answered(response: Response | SpaceswarmError, now: float) -> None:
            if isinstance(response, Response) and self._passage is not None:
                self._passage.take(SERVER_SOCKET, candidate, now)
            else:
                self._lost(self._problem, now)

        self._asking.ask(candidate, Command.make(True, PING), answered, now)
        return True

    def _punch(self, answer: Answer, info: HolepunchInfo, now: float) -> None:
        assert self._passage is not None
        self._timer = None
        payload = answer.payload
        secure = SecurePayload(answer.keys.hash, self._room.profile, self._room.node.chance)
        target = PunchTarget(self._target, answer.relay_address, answer.server_address, payload.firewall, info)
        self._holepunch = HolepunchClient(
            self._room.punching,
            target,
            secure,
            self._passage.take,
            self._not_punched,
            fast_open=self._options.fast_open,
            veto=self._options.veto,
            relayed=self._passage.is_meeting,
        )
        self._holepunch.start(now)

    def _not_punched(self, problem: SpaceswarmError, now: float) -> None:
        self._holepunch = None
        self._lost(problem, now)

    def _lost(self, problem: SpaceswarmError, now: float) -> None:
        """One of the ways does not lead there: it is over when there is no other."""
        self._problem = problem
        if not self._is_seeking():
            self.give_up(problem, now)

    def _is_seeking(self) -> bool:
        """Is there a way of which it is not known yet whether it leads there?"""
        if self._holepunch is not None or self._timer is not None or self._asking:
            return True
        return self._passage is not None and self._passage.is_meeting

    # What the passage tells.

    def connected(self, connection: Connection, now: float) -> None:
        """There is a way."""
        tried = () if self._search is None else tuple(self._search.tried)
        relays = connection.payload.relay_addresses or tried
        if relays:
            self._room.relay_cache.put(self.public_key, relays)
        done, self._done = self._done, None
        handshake, self._handshake = self._handshake, None
        if not connection.relayed or not self._is_seeking():
            self._end(now)
        if done is not None and handshake is not None:
            done(connection._replace(abandon=handshake.close), now)

    def arrived(self, now: float) -> None:
        """There is a direct way."""
        self._stop_seeking(now)
        if self._done is None:
            self._end(now)

    def not_met(self, problem: SpaceswarmError, now: float) -> None:
        """There is no way through the relay."""
        self._lost(problem, now)

    def ended(self, now: float) -> None:
        """The stream has ended on its way through the relay."""
        self._end(now)
