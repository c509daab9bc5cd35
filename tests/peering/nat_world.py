"""
Two hosts behind address translations of chosen kinds, and a network of public nodes that both know.

::

    world = NatWorld()
    server, client = world.peer("consistent"), world.peer("random")
    meeting = Meeting(world, server, client)
    world.run_until(lambda: meeting.over)

Kinds, as in ``natlab.py``, and two more::

    open         no translation
    cone         one outside port a socket, the same number; anybody may send to it
    consistent   the same, but only who was written to may answer
    mapped       as consistent, with another number outside
    restricted   as mapped, but the whole host that was written to may answer
    random       another outside port for every destination
    by-host      another outside port for every destination host; any of its ports may answer
    same         behind the translation of whoever was added last

Nothing of the handshake takes place: its result is made up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.contact import HOST_LENGTH
from spaceswarm_proxy.dht.message import Command
from spaceswarm_proxy.dht.sockets import CLIENT_SOCKET
from spaceswarm_proxy.dht.store import Forward
from spaceswarm_proxy.dht.values import PeerRecord
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.holepunch_client import HolepunchClient, PunchTarget
from spaceswarm_proxy.peering.holepunch_payload import SecurePayload
from spaceswarm_proxy.peering.holepunch_server import HolepunchServer
from spaceswarm_proxy.peering.noise_payload import Firewall, HolepunchInfo, RelayPair
from spaceswarm_proxy.peering.punching import Punching
from spaceswarm_proxy.peering.router import HolepunchArrival, Router
from spaceswarm_proxy.peering.schedule import Schedule
from tests.dht.world import Host, World

#: Datagrams with a lower TTL do not get from one side to the other.
FAR = 32
#: What a stream's first packet looks like here, and the answer.
PACKET, ANSWER = b"packet", b"answer"
PUBLIC_KEY = bytes(range(32))
HASH = bytes(range(64))


class Kind(NamedTuple):
    """What a translation does."""

    #: What decides the outside port, besides the socket: how many bytes of the destination.
    mapped_by: int = 0
    #: How many bytes of the sender's address must be those of a destination.
    filtered_by: int = 6
    keeps_port: bool = False


KINDS = {
    "open": None,
    "cone": Kind(filtered_by=0, keeps_port=True),
    "consistent": Kind(keeps_port=True),
    "mapped": Kind(),
    "restricted": Kind(filtered_by=HOST_LENGTH),
    "random": Kind(mapped_by=6),
    "by-host": Kind(mapped_by=HOST_LENGTH, filtered_by=HOST_LENGTH),
}


class Mapping:
    """An outside port, and who may send to it."""

    def __init__(self, host: PeerHost, socket: int) -> None:
        self.host = host
        self.socket = socket
        self.senders: set[bytes] = set()


class Translation:
    """A router with an address of its own, and one or two hosts behind it."""

    def __init__(self, world: NatWorld, ip: bytes, kind: Kind) -> None:
        self.ip = ip
        self.kind = kind
        #: Does it let one of its hosts reach the other by their outside addresses?
        self.hairpin = False
        #: Does it, like Linux, remember who came unasked, and keep the port of that from being used for an answer?
        self.remembers = False
        self._world = world
        self._ports: dict[tuple[object, int, bytes], int] = {}
        self._by_port: dict[int, Mapping] = {}
        self._unasked: set[tuple[int, bytes]] = set()

    def leave(self, host: PeerHost, socket: int, destination: bytes) -> bytes:
        """A datagram goes out.  :returns: the address that it comes from, seen from outside."""
        port = self._port(host, socket, destination[: self.kind.mapped_by])
        if (port, destination) in self._unasked:
            port = self._port(host, socket, destination + b"again")
        self._by_port[port].senders.add(destination[: self.kind.filtered_by])
        return self.ip + port.to_bytes(2, "little")

    def _port(self, host: PeerHost, socket: int, mapped_by: bytes) -> int:
        key = (host, socket, mapped_by)
        if key not in self._ports:
            self._ports[key] = self._map(host, socket)
        return self._ports[key]

    def _map(self, host: PeerHost, socket: int) -> int:
        port = int.from_bytes(host.addresses[socket][HOST_LENGTH:], "little")
        keep = self.kind.keeps_port
        while not keep or port in self._by_port:
            keep, port = True, 1024 + self._world.chance.randrange(64512)
        self._by_port[port] = Mapping(host, socket)
        return port

    def arrived(self, data: bytes, source: bytes, target: bytes) -> None:
        """A datagram comes in."""
        port = int.from_bytes(target[HOST_LENGTH:], "little")
        mapping = self._by_port.get(port)
        if source[:HOST_LENGTH] == self.ip and not self.hairpin:
            return
        if mapping is not None and source[: self.kind.filtered_by] in mapping.senders:
            mapping.host.receive(data, source, mapping.socket)
        elif self.remembers:
            self._unasked.add((port, source))


class NatWorld(World):
    """Public nodes, and hosts behind translations."""

    def __init__(self, seed: int = 1, nodes: int = 8) -> None:
        super().__init__(seed)
        #: Do datagrams with a low TTL get lost on the way?
        self.far = True
        self.population(nodes)
        self.run(5)

    @property
    def public(self) -> list[Host]:
        """The public nodes."""
        return [host for host in self.hosts if host.public]

    def peer(self, kind: str, **options: Any) -> PeerHost:
        """
        Add a host.

        :param kind: of :data:`KINDS`, or "same".
        :param options: of ``NodeOptions``.
        """
        before = self.hosts[-1]
        bootstrap = tuple(host.address for host in self.public)[:3]
        host = PeerHost(self, len(self.hosts) + 1, False, False, bootstrap, options)
        if kind == "same":
            assert isinstance(before, PeerHost)
            host.translation = before.translation
        elif (what := KINDS[kind]) is not None:
            host.translation = Translation(self, host.ip, what)
        self.hosts.append(host)
        self._by_ip[host.ip] = host.translation or host  # type: ignore[assignment]
        host.start()
        return host


class PeerHost(Host):
    """A host that can punch; it is its own :class:`~spaceswarm_proxy.peering.punching.Sockets`."""

    translation: Translation | None = None

    def boot(self) -> None:
        """A node, and what punching needs."""
        super().boot()
        self.schedule = Schedule()
        self.punching = Punching(self.core, self, self.schedule)
        self.router = Router(self.core)
        self.core.foreign = self._foreign
        #: Sockets that may be open at a time, besides those of the node.
        self.max_sockets = 300
        #: Takes a packet of a stream: the data, the address that it came from, and the socket.
        self.on_packet: Callable[[bytes, bytes, int], None] = lambda data, source, socket: None
        #: Datagrams of one byte that were sent, with their TTL, and the latest destinations.
        self.punches: list[tuple[int, bytes, int]] = []
        self._next_socket = 2
        self._woken_at = float("inf")

    def open(self) -> int:
        """A new socket."""
        if len(self.addresses) - 2 >= self.max_sockets:
            raise OSError("too many open files")
        number, self._next_socket = self._next_socket, self._next_socket + 1
        self.addresses[number] = self.at(20000 + number)
        return number

    def close(self, number: int) -> None:
        """It stays for the packets of a stream; nobody punches with it."""

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        """The node sends."""
        if len(data) == 1:
            self.punches.append((socket, address, ttl))
        source = self.addresses[socket]
        if self.translation is not None:
            source = self.translation.leave(self, socket, address)
        if not (0 < ttl < FAR and self.world.far):  # type: ignore[attr-defined]
            self.world.send(data, source, address)

    def receive(self, data: bytes, source: bytes, socket: int) -> None:
        """A datagram has come through the translation."""
        reply = self.core.receive(data, source, socket, self.world.now)
        if reply:
            self.transmit(socket, source, reply)
        self.plan()

    def _foreign(self, data: bytes, source: bytes, socket: int, now: float) -> None:
        if len(data) > 1:
            self.on_packet(data, source, socket)
        else:
            self.punching.received(source, socket, now)

    def plan(self) -> None:
        """See that node and schedule are woken."""
        super().plan()
        deadline = self.schedule.next_deadline()
        if deadline is not None and deadline < self._woken_at:
            self._woken_at = deadline
            self.world.call_at(deadline, self._advance, deadline)

    def _advance(self, planned: float) -> None:
        if planned == self._woken_at:
            self._woken_at = float("inf")
            self.schedule.advance(self.world.now)
        self.plan()


class Meeting:
    """A client and a server that punch, and a packet that is to get through both ways."""

    def __init__(
        self, world: NatWorld, server: PeerHost, client: PeerHost, *, relay: int = 0, announced: int = 3,
        listed: int = 3,        server_options: dict[str, Any] | None = None, **client_options: Any,
    ) -> None:  # fmt: skip
        """
        :param relay: which of the public nodes the handshake has gone through.
        :param announced: how many of them the server has announced itself to, from the first on.
        :param listed: how many of those it tells the client.
        """
        self.world = world
        self.server_host, self.client_host = server, client
        self.began = world.now
        #: The socket and address that the client has connected over, and the same of the server.
        self.client_way: tuple[int, bytes] | None = None
        self.server_way: tuple[int, bytes] | None = None
        self.answered = False
        self.client: HolepunchClient | None = None
        self.problem: SpaceswarmError | None = None
        self.server_aborted = False
        self.target = hash32(PUBLIC_KEY)
        self._relay = world.public[relay]
        self._announced = world.public[:announced]
        self._listed = listed
        self._client_options = client_options
        self._pairs: list[RelayPair] = []
        self._connect_server(server_options or {})

    @property
    def connected(self) -> bool:
        """Have packets come through both ways?"""
        return self.server_way is not None and self.answered

    @property
    def over(self) -> bool:
        """Has it come to anything?"""
        return self.connected or self.problem is not None

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self.world.now - self.began

    # What a handshake would do.

    def _connect_server(self, options: dict[str, Any]) -> None:
        host = self.server_host
        self.server_secure = SecurePayload(HASH, host.core.profile, self.world.chance)
        relays = {node.address for node in self._announced}
        self.server = HolepunchServer(
            host.punching, self.server_secure, Firewall.UNKNOWN, relays.__contains__, self._server_gave_up,
            self.world.now, **options,
        )  # fmt: skip
        host.router.servers[self.target] = self  # type: ignore[assignment]
        host.on_packet = self._server_packet
        for node in self._announced:
            self._announce(node)
        host.plan()

    def _announce(self, node: Host) -> None:
        """The node gets to know the server, by its ordinary socket."""

        def answered(response: Any, now: float) -> None:
            assert node.core.store is not None
            node.core.store.forwards.put(self.target, Forward(PeerRecord(PUBLIC_KEY), response.to), now)
            self._pairs.append(RelayPair(node.address, response.to))
            if len(self._pairs) == len(self._announced):
                self._answer_handshake()

        core = self.server_host.core
        core.ask(node.address, Command.make(True, PING), answered, self.world.now, socket=CLIENT_SOCKET)

    def _answer_handshake(self) -> None:
        """From the puncher's socket, so that the node in between sees its address."""
        core = self.server_host.core
        ping = Command.make(True, PING)
        core.ask(self._relay.address, ping, self._connect_client, self.world.now, socket=self.server.socket)

    def _connect_client(self, response: Any, now: float) -> None:
        host = self.client_host
        info = HolepunchInfo(0, tuple(sorted(self._pairs)[: self._listed]))
        target = PunchTarget(self.target, self._relay.address, response.to, Firewall.UNKNOWN, info)
        self.client_secure = SecurePayload(HASH, host.core.profile, self.world.chance)
        self.client = HolepunchClient(
            host.punching, target, self.client_secure, self._client_connected, self._client_failed,
            **self._client_options,
        )  # fmt: skip
        host.on_packet = self._client_packet
        self.began = now
        self.client.start(now)
        host.plan()

    # What comes of it.

    def holepunch(self, arrival: HolepunchArrival, now: float) -> bool:
        """The router of the server has something for it."""
        return self.server.receive(arrival, now)

    def _client_connected(self, socket: int, address: bytes, now: float) -> None:
        self.client_way = (socket, address)
        self.client.close(now)
        self._send_packet()

    def _send_packet(self) -> None:
        """As a stream does until it is answered."""
        if not self.answered and self.client_way is not None:
            socket, address = self.client_way
            self.client_host.transmit(socket, address, PACKET)
            self.world.call_at(self.world.now + 0.5, self._send_packet)

    def _server_packet(self, data: bytes, source: bytes, socket: int) -> None:
        self.server_way = (socket, source)
        self.server.close(self.world.now)
        self.server_host.transmit(socket, source, ANSWER)

    def _client_packet(self, data: bytes, source: bytes, socket: int) -> None:
        self.answered = True

    def _client_failed(self, problem: SpaceswarmError, now: float) -> None:
        self.problem = problem

    def _server_gave_up(self, now: float) -> None:
        self.server_aborted = True
