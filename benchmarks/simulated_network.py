"""
A network that is not there: nodes of ours on a virtual clock, with loss, delays and address translation between them.

The nodes are real :class:`~spaceswarm_proxy.dht.core.NodeCore`, and what passes between them are real datagrams, as
bytes.  There is one heap of events, and one source of randomness: the same seed gives the same run.

``benchmarks/simulated_life.py`` lets a population live in it, and ``benchmarks/simulation.py`` says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any

from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.dht.contact import HOST_LENGTH
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.options import NodeOptions
from spaceswarm_proxy.dht.sockets import SERVER_SOCKET

PROFILE = SPACESWARM
#: Milliseconds since 1970 when the virtual clock began.
EPOCH = 1_800_000_000_000.0
#: Addresses that a new node is given to begin with.
BEGINNINGS = 3
#: Seconds for which an address translation remembers whom a socket has sent to; many use two minutes for UDP.
NAT_MEMORY = 120.0
#: Destinations of a socket from which on those that are forgotten are cleared away.
_NAT_CROWDED = 256


@dataclass(frozen=True)
class Conditions:
    """What happens to datagrams."""

    #: The share that is lost.
    loss: float = 0.05
    #: Seconds on the way, drawn for each.
    shortest: float = 0.010
    longest: float = 0.200


class Nat:
    """
    An address translation: each socket has an address of its own outside, the same whomever it sends to, and only those
    whom it has sent to can answer.
    """

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        # When something was last sent, by destination, for each of the two sockets.
        self._sent: tuple[dict[bytes, float], dict[bytes, float]] = ({}, {})

    def opened(self, socket: int, destination: bytes, now: float) -> None:
        """A datagram goes out."""
        sent = self._sent[socket]
        sent[destination] = now
        if len(sent) > _NAT_CROWDED:
            self._sent[socket].clear()
            self._sent[socket].update({to: when for to, when in sent.items() if now - when < NAT_MEMORY})

    def lets_in(self, socket: int, source: bytes, now: float) -> bool:
        """:returns: whether a datagram from there comes through."""
        return now - self._sent[socket].get(source, -inf) < NAT_MEMORY


class SimulatedHost:
    """A machine with one node on it."""

    __slots__ = ("addresses", "alive", "core", "joined_at", "nat", "network", "place", "received", "sent", "wake_at")

    #: Does it do as it should?
    honest = True

    def __init__(self, network: SimulatedNetwork, addresses: tuple[bytes, bytes], nat: Nat | None) -> None:
        """:param addresses: of the client and the server socket, as others see them."""
        self.network = network
        self.addresses = addresses
        self.nat = nat
        self.alive = True
        self.joined_at = network.now
        #: Datagrams.
        self.received = 0
        self.sent = 0
        #: When :meth:`wake` is called next.
        self.wake_at = inf
        #: Where in the network's list it is.
        self.place = 0
        self.core: NodeCore

    def start(self, options: NodeOptions, server_port: int, bootstrap: tuple[bytes, ...]) -> None:
        """Bring the node up."""
        network = self.network
        self.core = NodeCore(options, network.random, self.transmit, self.told, network.wall_clock, network.now)
        self.core.server_port = server_port
        self.core.bootstrap = bootstrap
        self.core.start(network.now)
        self.plan()

    @property
    def is_persistent(self) -> bool:
        """Does the node tell its id, and store for others?"""
        return not self.core.ephemeral

    def told(self, event: str, *details: Any) -> None:
        """The node has something to say."""
        if event == "beginnings_wanted":
            self.core.bootstrap = self.network.beginnings()

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        """The node sends."""
        self.sent += 1
        if self.nat is not None:
            self.nat.opened(socket, address, self.network.now)
        self.network.carry(data, self.addresses[socket], address)

    def arrived(self, data: bytes, source: bytes, socket: int, now: float) -> None:
        """A datagram has come this far."""
        if self.nat is not None and not self.nat.lets_in(socket, source, now):
            self.network.filtered += 1
            return
        self.received += 1
        reply = self.respond(data, source, socket, now)
        if reply is not None:
            self.transmit(socket, source, reply)
        self.plan()

    def respond(self, data: bytes, source: bytes, socket: int, now: float) -> bytes | None:
        """:returns: what to send back, if anything."""
        return self.core.receive(data, source, socket, now)

    def plan(self) -> None:
        """See to it that the node is woken when it has something to do; to be called whenever it has done something."""
        deadline = self.core.next_deadline()
        if deadline < self.wake_at:
            self.wake_at = deadline
            self.network.call_at(deadline, self.wake, deadline)

    def wake(self, when: float) -> None:
        """It may be time for what the node has to do; not if another time has been planned since."""
        if self.alive and when == self.wake_at:
            self.wake_at = inf
            now = self.network.now
            self.core.advance(now)
            if self.core.next_deadline() <= now:
                raise AssertionError(f"{self.core} has been woken, and has not done what was due")
            self.plan()


class SimulatedNetwork:
    """All of it: the clock, the hosts, and what is on its way between them."""

    def __init__(self, conditions: Conditions, seed: int = 1) -> None:
        self.conditions = conditions
        self.random = Random(seed)
        #: Seconds.
        self.now = 0.0
        self.hosts: list[SimulatedHost] = []
        #: Datagrams that were sent, lost, sent to nobody, and kept out by an address translation.
        self.sent = 0
        self.lost = 0
        self.misdirected = 0
        self.filtered = 0
        self._places: dict[bytes, tuple[SimulatedHost, int]] = {}
        self._used: set[bytes] = set()
        # (when, number, function, its arguments); the number keeps functions from being compared.  A heap of what comes
        # before the horizon, and what comes later, by the second: the heap is small, and so in the processor's cache.
        self._events: list[tuple[Any, ...]] = []
        self._later: dict[int, list[tuple[Any, ...]]] = {}
        self._horizon = 1
        self._number = 0

    # Time.

    def wall_clock(self) -> float:
        """:returns: milliseconds since 1970."""
        return EPOCH + self.now * 1000

    def call_at(self, when: float, function: Callable[..., None], *arguments: Any) -> None:
        """Have something done at that time."""
        self._number += 1
        event = (when, self._number, function, *arguments)
        if when < self._horizon:
            heappush(self._events, event)
        else:
            self._later.setdefault(int(when), []).append(event)

    def run(self, until: float) -> None:
        """Let time pass."""
        events = self._events
        while True:
            while events and events[0][0] <= until:
                event = heappop(events)
                self.now = event[0]
                event[2](*event[3:])
            if until < self._horizon:
                break
            for event in self._later.pop(self._horizon, ()):
                heappush(events, event)
            self._horizon += 1
        self.now = until

    # Datagrams.

    def carry(self, data: bytes, source: bytes, destination: bytes) -> None:
        """Take a datagram to where it goes, or lose it."""
        self.sent += 1
        conditions, draw = self.conditions, self.random.random
        if draw() < conditions.loss:
            self.lost += 1
            return
        when = self.now + conditions.shortest + (conditions.longest - conditions.shortest) * draw()
        self.call_at(when, self._deliver, data, source, destination)

    def _deliver(self, data: bytes, source: bytes, destination: bytes) -> None:
        place = self._places.get(destination)
        if place is None:
            self.misdirected += 1
        else:
            host, socket = place
            host.arrived(data, source, socket, self.now)

    # Hosts.

    def join(
        self,
        ephemeral: bool | None = False,
        firewalled: bool = False,
        behind_nat: bool = False,
        kind: type[SimulatedHost] = SimulatedHost,
    ) -> SimulatedHost:
        """
        Add a host; its node begins with a few of those that are there.

        :param ephemeral: as in :class:`~spaceswarm_proxy.dht.core.NodeOptions`; so is ``firewalled``.
        """
        host, server_port = self._new_host(behind_nat, kind)
        bootstrap = self.beginnings()
        host.place = len(self.hosts)
        self.hosts.append(host)
        for socket, address in enumerate(host.addresses):
            self._places[address] = host, socket
        # Nobody could tell the first one its address.
        public_host = None if bootstrap else host.addresses[SERVER_SOCKET][:HOST_LENGTH]
        options = NodeOptions(PROFILE, ephemeral, firewalled, public_host=public_host, bootstrap_count=len(bootstrap))
        host.start(options, server_port, bootstrap)
        return host

    def _new_host(self, behind_nat: bool, kind: type[SimulatedHost]) -> tuple[SimulatedHost, int]:
        """:returns: a host, and the port that its server socket is bound to."""
        ip = self._unused_ip()
        client_port, server_port, outside_port = self.random.sample(range(1024, 65536), 3)
        # Many translations keep the port if they can, so that alone does not tell that others can come in.
        seen_port = outside_port if behind_nat and self.random.random() < 0.5 else server_port
        addresses = tuple(ip + port.to_bytes(2, "little") for port in (client_port, seen_port))
        return kind(self, addresses, Nat() if behind_nat else None), server_port  # type: ignore[arg-type]

    def random_ip(self) -> bytes:
        """:returns: four bytes; hardly ever those of a host that is there."""
        return bytes((self.random.randrange(1, 224),)) + self.random.randbytes(HOST_LENGTH - 1)

    def _unused_ip(self) -> bytes:
        while (ip := self.random_ip()) in self._used:
            """Nobody gets an address that somebody else has had."""
        self._used.add(ip)
        return ip

    def leave(self, host: SimulatedHost) -> None:
        """A host is gone, without a word."""
        host.alive = False
        last = self.hosts.pop()
        if last is not host:
            self.hosts[host.place] = last
            last.place = host.place
        for address in host.addresses:
            del self._places[address]

    def beginnings(self) -> tuple[bytes, ...]:
        """
        :returns: addresses of a few nodes that can be reached, if there are any; of honest ones, since nobody finds the
            way who knows only those who show another one.
        """
        found: list[bytes] = []
        for _ in range(10 * BEGINNINGS):
            if len(found) >= BEGINNINGS or not self.hosts:
                break
            host = self.random.choice(self.hosts)
            if host.honest and host.is_persistent and host.addresses[SERVER_SOCKET] not in found:
                found.append(host.addresses[SERVER_SOCKET])
        return tuple(found)
