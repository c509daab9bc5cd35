"""
One handshake of a server: from a stranger's first message to a stream, or to nothing.

::

    READING     whoever keeps the server's key reads the first message
    DECIDING    whoever runs the server is asked whether the client may come
    WRITING     whoever keeps the key writes the answer
    WAITING     the answer is sent; the client is expected, or the way to it is being made
    SETTLED     there is a connection, or there will be none; what is left answers to repetitions for a while

What takes time before the answer may take :data:`INITIAL_TIMEOUT` in all.

The client is known by its key from the first message on; that it is not somebody who repeats an old message is known
when it uses the keys.

:source: npm ``hyperdht`` 6; spec/connect.md, section 6.1.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from spaceswarm_proxy.dht.contact import HOST_LENGTH
from spaceswarm_proxy.errors import MessageError, SpaceswarmError
from spaceswarm_proxy.peering.connection import Connection, Keys
from spaceswarm_proxy.peering.holepunch_payload import SecurePayload
from spaceswarm_proxy.peering.holepunch_server import HolepunchServer
from spaceswarm_proxy.peering.local_addresses import is_private, nearest
from spaceswarm_proxy.peering.noise_payload import (
    VERSION,
    Firewall,
    HandshakeCode,
    HolepunchInfo,
    NoisePayload,
    RelayThrough,
    UDXInfo,
)
from spaceswarm_proxy.peering.passage import Passage
from spaceswarm_proxy.peering.router import HandshakeArrival, HolepunchArrival
from spaceswarm_proxy.peering.schedule import Delayed

if TYPE_CHECKING:
    from spaceswarm_proxy.peering.listener import Listener

#: Seconds that may pass until a client that may come is answered, and until it has come, where it has to come by
#: itself; and that what is left of a handshake is kept.
INITIAL_TIMEOUT = 10.0
CLEAR_WAIT = 10.0
#: Seconds that a client has to find a direct way when there is one through a relay: punching at random ports may have
#: to be put off, and takes half a minute.
UPGRADE_TIMEOUT = 120.0
#: Repetitions of the first message that wait for the answer; they come a second apart.
MAX_REPETITIONS = 8


class _Phase(Enum):
    READING = "reading"
    DECIDING = "deciding"
    WRITING = "writing"
    #: There is an answer, and a way.
    ANSWERED = "answered"
    WAITING = "waiting"
    SETTLED = "settled"


#: Phases in which there is no answer yet.
_UNANSWERED = (_Phase.READING, _Phase.DECIDING, _Phase.WRITING)


class ServerHandshake:
    """A stranger at the door."""

    def __init__(self, listener: Listener, id: int, key: bytes, host: bytes) -> None:
        """
        :param id: its number, by which messages of hole punching find it.
        :param key: the hash of the first message.
        :param host: the host that it counts against.
        """
        self.id = id
        self.key = key
        self.host = host
        self._listener = listener
        self._room = listener.room
        self._phase = _Phase.READING
        self._kept = listener.keeper.handshake(self._room.profile)
        self._remote_public_key = b""
        self._keys: Keys | None = None
        # Has whoever keeps the key still to be told if nothing comes of it?
        self._is_kept_open = True
        self._payload = NoisePayload()
        self._first: HandshakeArrival | None = None
        self._waiting: list[HandshakeArrival] = []
        self._reply: bytes | None = None
        self._passage: Passage | None = None
        self._relay: RelayThrough | None = None
        self._holepunch: HolepunchServer | None = None
        self._answers_from_puncher = False
        self._timer: Delayed | None = None
        self._is_pending = True

    @property
    def stream_id(self) -> int | None:
        """The number of our end of the stream, if it has one."""
        return None if self._passage is None else self._passage.raw.id

    # Beginning.

    def begin(self, arrival: HandshakeArrival, now: float) -> None:
        """Read the first message, and ask whether the client may come; what is none ends it at once."""
        self._first = arrival
        self._waiting.append(arrival)
        self._timer = self._room.schedule.call_at(now + INITIAL_TIMEOUT, self._fail)
        self._kept.read(arrival.value.noise, self._read, now)

    def _read(self, plaintext: bytes | SpaceswarmError, now: float) -> None:
        if self._phase is not _Phase.READING:
            return
        remote_public_key = self._kept.remote_public_key
        if isinstance(plaintext, SpaceswarmError) or remote_public_key is None:
            self.destroy(now)  # It is not for us, or was damaged; or nobody could read it.
            return
        try:
            self._payload = NoisePayload.parse(plaintext)
        except MessageError:
            self.destroy(now)
            return
        self._remote_public_key = remote_public_key
        self._ask_firewall(now)

    def _ask_firewall(self, now: float) -> None:
        assert self._first is not None
        self._phase = _Phase.DECIDING
        firewall = self._listener.options.firewall
        try:
            firewall(self._remote_public_key, self._payload, self._first.client_address, self._decided, now)
        except Exception:
            # Whoever cannot be judged is refused; what is wrong there is not the client's business.
            self._decided(True, now)
            raise

    def repeat(self, arrival: HandshakeArrival, now: float) -> bool:
        """
        The first message has come again, or through another relay.

        :returns: whether it may be answered.
        """
        if self._reply is not None:
            self._answer(arrival)
        elif self._phase in _UNANSWERED and len(self._waiting) < MAX_REPETITIONS:
            self._waiting.append(arrival)
        else:
            return False
        return True

    def _decided(self, refused: bool, now: float) -> None:
        if self._phase is not _Phase.DECIDING:
            return
        if refused:
            self._give_up(now)
            return
        self._phase = _Phase.WRITING
        code = self._code()
        try:
            if code == HandshakeCode.NONE:
                self._make_stream()
        except SpaceswarmError:  # There can be no more streams, say; to the client it is the same as nobody.
            self._give_up(now)
            return
        self._kept.write(self._own_payload(code).encode(), self._written, now)

    def _make_stream(self) -> None:
        """:raises SpaceswarmError: there can be none."""
        options = self._listener.options
        self._passage = Passage(self._room, self, False, options.reusable_socket)
        self._relay = self._room.choose_relay(options.relay_through)

    def _written(self, reply: bytes | SpaceswarmError, now: float) -> None:
        """The second message is there, or there will be none."""
        if self._phase is not _Phase.WRITING:
            return
        self._stop_timer()
        keys = self._kept.keys
        if isinstance(reply, SpaceswarmError) or keys is None or keys.remote_public_key != self._remote_public_key:
            self._give_up(now)
            return
        self._phase, self._reply, self._keys = _Phase.ANSWERED, reply, keys
        if self._passage is None:
            self._answer_all()
            self._give_up(now)
        else:
            self._passage.agree(keys, self._payload)
            self._accept(self._passage, now)

    def _accept(self, passage: Passage, now: float) -> None:
        first = self._first
        assert first is not None
        if self._payload.firewall == Firewall.OPEN or first.is_direct:
            self._answer_all()
            socket = first.socket if first.is_direct else self._room.node.request_socket
            passage.take(socket, first.client_address, now)
        else:
            self._wait(now)
            self._answer_all()

    def _code(self) -> HandshakeCode:
        if self._payload.version != VERSION:
            return HandshakeCode.VERSION_MISMATCH
        return HandshakeCode.ABORTED if self._payload.udx is None else HandshakeCode.NONE

    def _own_payload(self, code: HandshakeCode) -> NoisePayload:
        listener = self._listener
        own = self._room.node.reachable_address
        addresses = [] if own is None else [own]
        if listener.options.share_local_address:
            addresses += self._room.local_addresses()
        udx = UDXInfo(0 if self._passage is None else self._passage.raw.id, listener.options.reusable_socket)
        return NoisePayload(
            error=code,
            firewall=Firewall.UNKNOWN if own is None else Firewall.OPEN,
            holepunch=HolepunchInfo(self.id, listener.announcer.relays) if own is None else None,
            addresses4=tuple(addresses),
            udx=udx,
            secret_stream=VERSION,
            relay_through=self._relay,
            relay_addresses=listener.announcer.relay_addresses or None,
        )

    def _answer_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for arrival in waiting:
            self._answer(arrival)

    def _answer(self, arrival: HandshakeArrival) -> None:
        """Answer from the puncher's socket if there is one: its address is where the client will look for us."""
        assert self._reply is not None
        socket = None
        if self._answers_from_puncher and self._holepunch is not None and not self._holepunch.puncher.closed:
            socket = self._holepunch.socket
        arrival.answer(self._reply, socket)

    # Waiting for the client.

    def _wait(self, now: float) -> None:
        self._phase = _Phase.WAITING
        self._meet(now)
        if not self._prepare_punching(now):
            self._timer = self._room.schedule.call_at(now + INITIAL_TIMEOUT, self._fail)

    def _meet(self, now: float) -> None:
        """Go to a relay as well, if either side has proposed one: ours, if we have."""
        place = self._relay or self._payload.relay_through
        if place is not None and self._passage is not None:
            self._passage.meet(place, self._relay is not None, now)

    def _is_near(self, arrival: HandshakeArrival) -> bool:
        """Is the client in our local network, as far as it can be told from here?"""
        if not self._listener.options.share_local_address:
            return False
        if arrival.client_address[:HOST_LENGTH] != arrival.to[:HOST_LENGTH]:
            return False
        theirs = [address for address in self._payload.addresses4 if is_private(address)]
        return nearest(self._room.local_addresses(), theirs) is not None

    def _prepare_punching(self, now: float) -> bool:
        """:returns: whether holes are punched, if need be; where not, the client has to come by itself."""
        assert self._first is not None and self._keys is not None
        near = self._is_near(self._first)
        if not self._listener.options.punches or not (near or self._room.node.reachable_address is None):
            return False
        secure = SecurePayload(self._keys.hash, self._room.profile, self._room.node.chance)
        is_relay, veto = self._listener.announcer.is_relay, self._listener.options.veto
        meeting = self._passage is not None and self._passage.is_meeting
        try:
            self._holepunch = HolepunchServer(
                self._room.punching,
                secure,
                self._payload.firewall,
                is_relay,
                self._fail,
                now,
                veto=veto,
                relayed=meeting,
            )
        except OSError:  # There can be no more sockets.
            return False
        # Whoever is near comes to the usual socket.
        self._answers_from_puncher = not near
        return True

    def holepunch(self, arrival: HolepunchArrival, now: float) -> bool:
        """
        A message of hole punching has come for this handshake.

        :returns: whether it may be answered.
        """
        return self._holepunch is not None and self._holepunch.receive(arrival, now)

    # Finding a way, or none.

    def connected(self, connection: Connection, now: float) -> None:
        """There is a way; if it leads through a relay, there may be a better one."""
        self._is_kept_open = False
        if connection.relayed:
            self.heard()
            self._look_further(now)
        self._listener.connected(connection._replace(abandon=self._kept.close), self, now)

    def _look_further(self, now: float) -> None:
        if not self._is_seeking():
            self._give_up(now)
        elif self._holepunch is not None:
            self._holepunch.wait_longer()
            self._timer = self._room.schedule.call_at(now + UPGRADE_TIMEOUT, self._fail)

    def arrived(self, now: float) -> None:
        """There is a direct way: the client has shown it to us, or we believe what we were told of it."""
        if self._phase is _Phase.WAITING:
            self.heard()
        self._settle(now)

    def not_met(self, problem: SpaceswarmError, now: float) -> None:
        """There is no way through the relay, and perhaps none at all."""
        if not self._is_seeking():
            self._give_up(now)

    def ended(self, now: float) -> None:
        """The stream has ended on its way through the relay."""
        self._give_up(now)

    def _is_seeking(self) -> bool:
        """Is a direct way looked for?"""
        return self._timer is not None or (self._holepunch is not None and not self._holepunch.puncher.closed)

    def _fail(self, now: float) -> None:
        """There is no direct way; there may be one through a relay."""
        self._stop_punching(now)
        if self._passage is None or not self._passage.is_meeting:
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        if self._passage is not None:
            self._passage.close(now)
        if self._is_kept_open:
            self._is_kept_open = False
            self._kept.close()
        self._settle(now)
        self._release(False)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_punching(self, now: float) -> None:
        self._stop_timer()
        if self._holepunch is not None:
            self._holepunch.close(now)

    def _settle(self, now: float) -> None:
        """It has come to what it comes to: only repetitions are answered still."""
        if self._phase is not _Phase.SETTLED:
            self._phase = _Phase.SETTLED
            self._waiting.clear()
            self._stop_punching(now)
            self._timer = self._room.schedule.call_at(now + CLEAR_WAIT, self._forget)

    def heard(self) -> None:
        """The client is really there: it has used what only our answer tells."""
        self._release(True)

    def _release(self, heard: bool) -> None:
        if self._is_pending:
            self._is_pending = False
            self._listener.admission.settled(self.host, heard)

    def _forget(self, now: float) -> None:
        self._release(False)
        self._listener.forget(self)

    def destroy(self, now: float) -> None:
        """End it at once; a connection that it has come to is not its any more."""
        self._give_up(now)
        self._stop_punching(now)
        self._forget(now)
