"""
A tiny network: a few nodes on a virtual clock, and what is between them.

::

    world = World()
    first = world.host(public=True)                 # whoever comes later begins with the public hosts
    other = world.host(ephemeral=True)
    world.run(10)                                   # seconds
    result = Outcome()
    other.begin(other.operations.lookup(topic, result.found, result.ended))
    world.run_until(lambda: result.over)

The nodes are real ones (``NodeCore``), and bytes pass between them.  A test bends the rest to its will with
:attr:`World.loss` and its like, :meth:`World.unplug`, and functions of its own in :attr:`World.strangers`.  The same
seed gives the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any

from spaceswarm_proxy.dht.contact import HOST_LENGTH, address_of, contact_at
from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.dht.message import encode_response
from spaceswarm_proxy.dht.operations import Operations
from spaceswarm_proxy.dht.options import NodeOptions
from spaceswarm_proxy.dht.query import Query
from spaceswarm_proxy.dht.results import Reply
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET, SERVER_SOCKET
from spaceswarm_proxy.dht.table import Entry
from spaceswarm_proxy.errors import SpaceswarmError

SERVER_PORT, CLIENT_PORT = 49737, 50001
#: Seconds for which an address translation lets those answer whom a socket has sent to.
NAT_MEMORY = 120.0
#: What the wall clock shows when the virtual one shows 0, in milliseconds.
EPOCH = 1_700_000_000_000.0

#: Takes a datagram and where it came from; what it gives goes back there.
Stranger = Callable[[bytes, bytes], Iterable[bytes]]


class World:
    """The clock, the hosts, and the datagrams on their way."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 1000.0
        self.chance = Random(seed)
        self.hosts: list[Host] = []
        #: Whoever is no node of ours, by address.
        self.strangers: dict[bytes, Stranger] = {}
        #: Seconds that a datagram takes, at least and at most; where they differ, one may overtake another.
        self.delay = (0.01, 0.05)
        #: The share of datagrams that is lost, and that arrives twice.
        self.loss = 0.0
        self.duplication = 0.0
        #: Datagrams that arrived, the latest last; kept only where a test has put a list here.
        self.seen: list[bytes] | None = None
        self._by_ip: dict[bytes, Host] = {}
        self._unplugged: set[bytes] = set()
        # (when, number, function, arguments); the number keeps functions from being compared.
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    # Hosts.

    def host(
        self, public: bool = False, *, behind_nat: bool = False, bootstrap: tuple[bytes, ...] | None = None,
        start: bool = True, **options: Any,
    ) -> Host:  # fmt: skip
        """
        Add a host.

        :param public: it knows its address, and is persistent at once.
        :param behind_nat: only those whom it has sent to can send to it.
        :param bootstrap: where it begins; by default with up to three of the public hosts that are there.
        :param options: of ``NodeOptions``.
        """
        if bootstrap is None:
            bootstrap = tuple(host.address for host in self.hosts if host.public)[:3]
        host = self.machine(len(self.hosts) + 1, public, behind_nat, bootstrap, options)
        self.hosts.append(host)
        self._by_ip[host.ip] = host
        if start:
            host.start()
        return host

    def machine(self, *arguments: Any) -> Host:
        """What a host is made of; a world of another kind makes others."""
        return Host(self, *arguments)

    def population(self, count: int) -> list[Host]:
        """:returns: so many new public hosts, who all know each other, as far as there is room in their tables."""
        hosts = [self.host(public=True, bootstrap=()) for _ in range(count)]
        self.acquaint()
        return hosts

    def acquaint(self) -> None:
        """Everybody knows everybody who can be reached, as far as there is room."""
        for host in self.hosts:
            for other in self.hosts:
                if other is not host and other.public:
                    host.core.table.add(Entry(contact_at(other.address), self.now))

    def unplug(self, *hosts: Host) -> None:
        """Nothing goes in or out there any more."""
        self._unplugged.update(host.ip for host in hosts)

    def plug_in(self, *hosts: Host) -> None:
        """Undo :meth:`unplug`."""
        self._unplugged.difference_update(host.ip for host in hosts)

    def move(self, host: Host) -> None:
        """A host gets another address; its node is not told."""
        del self._by_ip[host.ip]
        host.ip = b"\x0a\x01" + host.ip[2:]
        host._sent_to.clear()
        host.addresses = {socket: host.ip + address[HOST_LENGTH:] for socket, address in host.addresses.items()}
        self._by_ip[host.ip] = host

    # Datagrams.

    def send(self, data: bytes, source: bytes, target: bytes) -> None:
        """Take a datagram to where it goes, or lose it."""
        if {source[:HOST_LENGTH], target[:HOST_LENGTH]} & self._unplugged or self.chance.random() < self.loss:
            return
        for _ in range(2 if self.chance.random() < self.duplication else 1):
            shortest, longest = self.delay
            delay = shortest + (longest - shortest) * self.chance.random()
            self.call_at(self.now + delay, self._deliver, data, source, target)

    def _deliver(self, data: bytes, source: bytes, target: bytes) -> None:
        if self.seen is not None:
            self.seen.append(data)
        if target in self.strangers:
            for reply in self.strangers[target](data, source):
                self.send(reply, target, source)
        host = self._by_ip.get(target[:HOST_LENGTH])
        if host is not None:
            host.arrived(data, source, target)

    # Time.

    def call_at(self, when: float, function: Callable[..., None], *arguments: Any) -> None:
        """Have something done then."""
        self._number += 1
        heappush(self._events, (when, self._number, function, arguments))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self._plan()
        while self._events and self._events[0][0] <= end:
            self._step()
        self.now = max(self.now, end)

    def run_until(self, condition: Callable[[], bool], within: float = 120.0) -> None:
        """Let time pass until something is so; it must be within so many seconds."""
        end = self.now + within
        self._plan()
        while not condition():
            if not self._events or self._events[0][0] > end:
                raise AssertionError(f"it is not so after {within} seconds")
            self._step()

    def leap(self, seconds: float) -> None:
        """Time passes, and nobody notices: all machines sleep."""
        self.now += seconds

    def _plan(self) -> None:
        for host in self.hosts:
            host.plan()

    def _step(self) -> None:
        when, _, function, arguments = heappop(self._events)
        self.now = max(self.now, when)
        function(*arguments)


class Host:
    """A machine with a node on it."""

    def __init__(
        self,
        world: World,
        number: int,
        public: bool,
        behind_nat: bool,
        bootstrap: tuple[bytes, ...],
        options: dict[str, Any],
    ) -> None:
        self.world = world
        self.public = public
        self.behind_nat = behind_nat
        self.ip = bytes((10, 0, number >> 8, number & 255))
        #: By socket.
        self.addresses = {CLIENT_SOCKET: self.at(CLIENT_PORT), SERVER_SOCKET: self.at(SERVER_PORT)}
        #: What the node has told of.
        self.reports: list[str] = []
        self._bootstrap = bootstrap
        self._options = options
        # When a socket last sent to an address.
        self._sent_to: dict[tuple[int, bytes], float] = {}
        self._planned = inf
        self.boot()

    def boot(self) -> None:
        """A new node on this machine, in place of the one that was there; to be started."""
        world = self.world
        options = {"bootstrap_count": len(self._bootstrap), **self._options}
        if self.public:
            options |= {"ephemeral": False, "firewalled": False, "public_host": self.ip}
        self.core = NodeCore(
            NodeOptions(**options), world.chance, self.transmit, self.reports.append, self.wall_clock, world.now
        )
        self.core.server_port = SERVER_PORT
        self.core.bootstrap = self._bootstrap
        self.operations = Operations(self.core, self.core.profile)

    def start(self) -> None:
        """The node joins the network."""
        self.core.start(self.world.now)

    def at(self, port: int) -> bytes:
        """An address of this machine."""
        return self.ip + port.to_bytes(2, "little")

    @property
    def address(self) -> bytes:
        """Where the node can be reached, if it can."""
        return self.addresses[SERVER_SOCKET]

    def wall_clock(self) -> float:
        """Milliseconds since 1970."""
        return EPOCH + self.world.now * 1000

    def begin(self, query: Query, nodes: Iterable[bytes] = (), only_nodes: bool = False) -> Query:
        """Begin a query now."""
        self.core.begin(query, self.world.now, nodes, only_nodes)
        return query

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        """The node sends."""
        self._sent_to[socket, address] = self.world.now
        self.world.send(data, self.addresses[socket], address)

    def arrived(self, data: bytes, source: bytes, target: bytes) -> None:
        """A datagram has come this far."""
        for socket, address in self.addresses.items():
            if address == target and (not self.behind_nat or self._lets_in(socket, source)):
                reply = self.core.receive(data, source, socket, self.world.now)
                if reply is not None:
                    self.transmit(socket, source, reply)
                self.plan()

    def _lets_in(self, socket: int, source: bytes) -> bool:
        return self.world.now - self._sent_to.get((socket, source), -inf) < NAT_MEMORY

    def plan(self) -> None:
        """See that the node is woken when it has something to do."""
        deadline = self.core.next_deadline()
        if deadline < self._planned and not self.core.suspended:
            self._planned = deadline
            self.world.call_at(deadline, self._wake, deadline)

    def _wake(self, planned: float) -> None:
        if planned == self._planned:
            self._planned = inf
            self.core.advance(self.world.now)
            if not self.core.suspended and self.core.next_deadline() <= self.world.now:
                raise AssertionError("the node was woken, and has not done what was due")
            self.plan()


class Outcome:
    """What a query has come to."""

    def __init__(self) -> None:
        self.replies: list[Reply[Any]] = []
        self.over = False
        self.problem: SpaceswarmError | None = None

    @property
    def values(self) -> list[Any]:
        """What the replies say."""
        return [reply.value for reply in self.replies]

    def found(self, reply: Reply[Any]) -> None:
        """There is a reply."""
        self.replies.append(reply)

    def ended(self, problem: SpaceswarmError | None) -> None:
        """That was all."""
        self.over = True
        self.problem = problem


class Alone:
    """A node without a network: a test hands it what it likes, and what it sends is written down."""

    #: What a persistent one knows itself by.
    ADDRESS = address_of("127.0.0.1", 30001)

    def __init__(self, persistent: bool = False, chance: Random | None = None, **options: Any) -> None:
        """
        :param persistent: its address is :attr:`ADDRESS`, and it knows.
        :param options: of ``NodeOptions``.
        """
        self.now = 100.0
        #: Socket, address, datagram.
        self.sent: list[tuple[int, bytes, bytes]] = []
        self.reports: list[str] = []
        chance = chance or Random(1)
        self.core = NodeCore(
            NodeOptions(**options), chance, self._transmit, self.reports.append, lambda: EPOCH, self.now
        )
        self.core.server_port = SERVER_PORT
        if persistent:
            self.core.firewalled = False
            self.core.become(contact_at(self.ADDRESS).id, True, self.now)

    def _transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        self.sent.append((socket, address, data))

    def receive(self, data: bytes, source: bytes, socket: int = SERVER_SOCKET) -> bytes | None:
        """A datagram comes; what goes straight back."""
        return self.core.receive(data, source, socket, self.now)

    def take_sent(self) -> list[tuple[int, bytes, bytes]]:
        """What was sent since the last call, but for what :meth:`receive` has given back."""
        sent, self.sent = self.sent, []
        return sent

    def answer(self, request: tuple[int, bytes, bytes], with_id: bool = True, **fields: Any) -> None:
        """
        Whoever was sent a request answers it; over the socket that it came from.

        :param with_id: is it a persistent node?
        :param fields: of the response, where it says more.
        """
        socket, address, data = request
        said = {"token": None, "closer": b"", "error": 0, "value": None, "to": self.ADDRESS, **fields}
        id = contact_at(address).id if with_id else None
        self.receive(encode_response(data[2:4], said.pop("to"), id, **said), address, socket)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while not self.core.suspended and (deadline := self.core.next_deadline()) <= end:
            self.now = max(self.now, deadline)
            self.core.advance(self.now)
        self.now = end
