"""
Punching: two sides behind address translations send to each other until something comes through.

A translation lets in what comes from where something was sent to.  So each side sends to where it believes that the
other is; what that sends, in turn, then finds its way.  What can be done depends on what each side's translation does
with ports::

    ours          theirs
    CONSISTENT    CONSISTENT    send to each of their addresses once a second
    CONSISTENT    RANDOM        send to ports of theirs at random: half a minute
    RANDOM        CONSISTENT    open 256 sockets, so that their sends at random meet one; send from each in turn
    RANDOM        RANDOM        nothing

The last but one is the birthday paradox: of 64,536 ports, 256 are open on our side, and 1,750 are tried on theirs.

Who has verified the address of the other (by a token that came back) sends more than a few datagrams there; where it
has not, an address may be that of somebody who has nothing to do with it.

A first datagram is sent with a *low TTL*: enough to open our own translation, not enough to reach the other side's,
where it would be unwelcome, and remembered as such.

:source: npm ``hyperdht`` 6; spec/connect.md, section 6.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from spaceswarm_proxy.dht.contact import HOST_LENGTH, is_shunned
from spaceswarm_proxy.peering.holepunch_payload import HolepunchPayload
from spaceswarm_proxy.peering.noise_payload import Firewall
from spaceswarm_proxy.peering.punching import Punching, Veto
from spaceswarm_proxy.peering.repeated import Repeated
from spaceswarm_proxy.peering.samples import NatSamples
from spaceswarm_proxy.peering.sampling import Sampling

PUNCH = b"\x00"
#: Routers that a datagram passes which is not to arrive.
LOW_TTL = 5
#: Sends to consistent addresses, and the seconds between them; addresses that are not verified are left out but for
#: every fourth time.
ROUNDS = 10
ROUND = 1.0
UNVERIFIED_EVERY = 4
#: Sends at random, and the seconds between them.
PROBES = 1750
PROBE = 0.02
#: The ports that they go to.
FIRST_PORT, LAST_PORT = 1000, 65535
#: Sockets that wait for them, and the seconds until they send for the second time.
BIRTHDAY_SOCKETS = 256
BIRTHDAY_PAUSE = 0.1
#: Other sockets that are tried where the first one's translation is unclear.
MAX_REOPENS = 3
#: Punch messages that a server answers: two of them that were led to each other would never end.
MAX_ANSWERS = 256
#: Analyses that are waited for at a time: the other side decides how many it asks for.
MAX_WAITING = 16


class RemoteAddress(NamedTuple):
    """Where the other side says that it is."""

    address: bytes
    #: Has something that we sent to this host come back?
    verified: bool


class Puncher:
    """One side's attempt to get through to the other."""

    def __init__(
        self,
        punching: Punching,
        initiator: bool,
        remote_firewall: Firewall,
        connected: Callable[[int, bytes, float], None],
        aborted: Callable[[float], None],
        now: float,
    ) -> None:
        """
        :param initiator: are we the client?  The client decides which way is taken; the server answers all.
        :param connected: told once, on the client, when something has come through: the socket, the address that it
            came from, and the time.
        :param aborted: told once when nothing more is tried.
        :raises OSError: there can be no more sockets.
        """
        self.remote_firewall = remote_firewall
        self.remote_addresses: tuple[RemoteAddress, ...] = ()
        #: Does the other side send to our addresses, or will it?
        self.remote_punching = False
        #: Do we send to theirs?
        self.punching = False
        self.connected = False
        self.closed = False
        self._all = punching
        self._initiator = initiator
        self._on_connected = connected
        self._on_aborted = aborted
        self._sockets = [punching.open(self._arrived)]
        self._sampling = Sampling(punching.node, self.socket, self._settle)
        self._waiting: list[tuple[bool, Callable[[bool, float], None]]] = []
        self._reopens = 0
        self._possible: bool | None = None
        self._repeated: Repeated | None = None
        #: Is this the one attempt at random ports that the node may make at a time?
        self._has_turn = False
        self._answers = 0
        self._sampling.begin(now)

    @property
    def socket(self) -> int:
        """The socket that all this is about; it changes where the first one's translation is unclear."""
        return self._sockets[0]

    @property
    def samples(self) -> NatSamples:
        """What is known of our own side."""
        return self._sampling.samples

    @property
    def firewall(self) -> Firewall:
        """What our own side is."""
        return self.samples.firewall

    @property
    def is_random(self) -> bool:
        """Does one of the sides choose its ports at random?"""
        return Firewall.RANDOM in (self.firewall, self.remote_firewall)

    @property
    def is_consistent(self) -> bool:
        """Can the other side reach us where it is told to?"""
        return _coerced(self.firewall) == Firewall.CONSISTENT

    def approved_by(self, veto: Veto) -> bool:
        """:returns: whether the user lets us punch."""
        theirs = tuple(remote.address for remote in self.remote_addresses)
        return veto(self.remote_firewall, self.firewall, theirs, self.samples.addresses or ())

    # What is known of both sides.

    def sampled(self, address: bytes, responder: bytes, now: float) -> None:
        """Somebody says what the socket's address is."""
        self._sampling.add(address, responder, now)

    def update_remote(self, payload: HolepunchPayload, verified: bytes | None) -> None:
        """
        The other side has told of itself.

        :param verified: the address at which it has proved to be; the host counts.
        """
        hosts = {remote.address[:HOST_LENGTH] for remote in self.remote_addresses if remote.verified}
        if verified is not None:
            hosts.add(verified[:HOST_LENGTH])
        self.remote_addresses = tuple(
            RemoteAddress(address, address[:HOST_LENGTH] in hosts) for address in payload.addresses or ()
        )
        self.remote_firewall = payload.firewall
        self.remote_punching = payload.punching

    def analyze(self, reopen: bool, done: Callable[[bool, float], None], now: float) -> None:
        """
        Wait until it is known what our own side is.

        :param reopen: may other sockets be tried, if punching makes no sense with this one?
        :param done: told whether it makes sense; perhaps at once, and never if the puncher is closed before.
        """
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append((reopen, done))
            self._settle(now)

    def _settle(self, now: float) -> None:
        if self.closed or not self._sampling.done or (self._wants_reopen() and self._reopen(now)):
            return
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            if not self.closed:
                done(not self._is_unstable(), now)

    def _is_unstable(self) -> bool:
        both_random = self.firewall == self.remote_firewall == Firewall.RANDOM
        return both_random or self.firewall == Firewall.UNKNOWN

    def _wants_reopen(self) -> bool:
        wanted = any(reopen for reopen, _ in self._waiting)
        return wanted and self._is_unstable() and self._reopens < MAX_REOPENS and not self.punching

    def _reopen(self, now: float) -> bool:
        """:returns: whether there is another socket now."""
        self._reopens += 1
        try:
            socket = self._all.open(self._arrived)
        except OSError:
            return False
        self._sampling.stop()
        self._all.close(self.socket)
        self._sockets = [socket]
        self._sampling = Sampling(self._all.node, socket, self._settle)
        self._sampling.begin(now)
        return True

    # Sending.

    def ping(self, address: bytes) -> None:
        """Send a punch message that is to arrive."""
        self._send(self.socket, address)

    def open_session(self, address: bytes) -> None:
        """Open our own translation for somebody, who gets nothing of it."""
        self._send(self.socket, address, LOW_TTL)

    def _send(self, socket: int, address: bytes, ttl: int = 0) -> None:
        # Port 0 stands for any.
        if not is_shunned(address):
            self._all.node.transmit(socket, address, PUNCH, ttl)

    # Punching.

    def punch(self, now: float) -> bool:
        """
        Send to all that is known of the other side; once.

        :returns: whether that makes sense.
        """
        if self._possible is None:
            over = self.closed or self.connected or not self.remote_addresses
            self._possible = self.punching = not over and self._begin(now)
        return self._possible

    def _begin(self, now: float) -> bool:
        ways = _coerced(self.firewall), _coerced(self.remote_firewall)
        verified = next((remote.address for remote in self.remote_addresses if remote.verified), None)
        if ways == (Firewall.CONSISTENT, Firewall.CONSISTENT):
            # A server has just sent its first one, if it knows the client's address.
            self._repeat(self._to_addresses, ROUNDS, ROUND, now if self._initiator else now + ROUND)
        elif verified is None:
            return False
        elif ways == (Firewall.CONSISTENT, Firewall.RANDOM):
            self._begin_random()
            self._repeat(lambda _: self._to_any_port(verified), PROBES, PROBE, now)
        elif ways == (Firewall.RANDOM, Firewall.CONSISTENT):
            self._begin_random()
            self._open_birthday_sockets(verified)
            self._repeat(lambda time: self._from_next_socket(time, verified), PROBES, PROBE, now + BIRTHDAY_PAUSE)
        else:
            return False
        return True

    def _repeat(self, step: Callable[[int], None], times: int, pause: float, when: float) -> None:
        self._repeated = Repeated(self._all.schedule, step, times, pause, self.abort)
        self._repeated.begin(when)

    def _begin_random(self) -> None:
        self._has_turn = True
        self._all.random_punches.begin()

    def _to_addresses(self, time: int) -> None:
        for address, verified in self.remote_addresses:
            if verified or time % UNVERIFIED_EVERY == 0:
                self.ping(address)

    def _to_any_port(self, address: bytes) -> None:
        port = FIRST_PORT + self._all.node.chance.randrange(LAST_PORT + 1 - FIRST_PORT)
        self.ping(address[:HOST_LENGTH] + port.to_bytes(2, "little"))

    def _open_birthday_sockets(self, address: bytes) -> None:
        while len(self._sockets) < BIRTHDAY_SOCKETS:
            try:
                socket = self._all.open(self._arrived)
            except OSError:
                return
            self._sockets.append(socket)
            self._send(socket, address, LOW_TTL)

    def _from_next_socket(self, time: int, address: bytes) -> None:
        socket = self._sockets[(time - 1) % len(self._sockets)]
        self._send(socket, address, LOW_TTL if time <= len(self._sockets) else 0)

    # What comes.

    def _arrived(self, socket: int, source: bytes, now: float) -> None:
        if self._initiator:
            self._through(socket, source, now)
        elif self._answers < MAX_ANSWERS:
            self._answers += 1
            self._send(socket, source)

    def _through(self, socket: int, source: bytes, now: float) -> None:
        if self.connected or self.closed:
            return
        self.connected = True
        self._stop(now)
        for other in self._sockets:
            if other != socket:
                self._all.close(other)
        self._sockets = [socket]
        self._on_connected(socket, source, now)

    # The end.

    def abort(self, now: float) -> None:
        """Give up, and tell so; unless it is over anyway."""
        if not self.closed:
            self.close(now)
            if not self.connected:
                self._on_aborted(now)

    def close(self, now: float) -> None:
        """Stop all that is under way, and tell nobody; a socket that a stream uses stays open for it."""
        if not self.closed:
            self.closed = True
            self._stop(now)
            for socket in self._sockets:
                self._all.close(socket)

    def _stop(self, now: float) -> None:
        self.punching = False
        self._waiting.clear()
        self._sampling.stop()
        if self._repeated is not None:
            self._repeated.stop()
        if self._has_turn:
            self._has_turn = False
            self._all.random_punches.end(now)


def _coerced(firewall: Firewall) -> Firewall:
    """:returns: what it means for punching: whoever can be reached always can be reached when punching, too."""
    return Firewall.CONSISTENT if firewall == Firewall.OPEN else firewall
