"""
A tiny network whose hosts connect to each other: nodes on a virtual clock, with streams that are but a few packets.

::

    world = PeeringWorld()
    world.population(8)
    server, client = world.peer(), world.peer()
    world.run(10)
    ...

A stream of :class:`FakeStreams` says hello to the other end until it hears from it: so who can hear whom is what it
would be with real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from spaceswarm_proxy.crypto.keeper import Keeper, OwnKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.dht.contact import HOST_LENGTH, address_of
from spaceswarm_proxy.errors import LimitError, SpaceswarmError
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.connector import ConnectOptions
from spaceswarm_proxy.peering.core import PeeringCore
from spaceswarm_proxy.peering.listener import ListenOptions
from spaceswarm_proxy.peering.noise_payload import RelayThrough
from spaceswarm_proxy.peering.raw import Firewall, RawStream
from spaceswarm_proxy.peering.relaying import Met
from tests.dht.world import Host, World

#: The first byte of a stream's packets; then comes what they are, and the id of the stream that they are for.
STREAM_BYTE = b"\xff"
HELLO, HEARD, END = b"h", b"a", b"x"
#: Seconds between hellos, and how many there are at most.
AGAIN = 0.5
ATTEMPTS = 40
FIRST_POOL_PORT = 52000


class PeeringWorld(World):
    """Hosts that connect to each other."""

    def machine(self, *arguments: Any) -> Host:
        return PeerHost(self, *arguments)

    def peer(self, beside: PeerHost | None = None, **options: Any) -> PeerHost:
        """
        :param beside: share this one's address: the two are in the same local network.
        :returns: a new host.
        """
        start = options.pop("start", True)
        host = self.host(start=False, **options)
        assert isinstance(host, PeerHost)
        if beside is not None:
            host.move_beside(beside)
        if start:
            host.start()
        return host


class PeerHost(Host):
    """A machine with a node that connects to others."""

    def boot(self) -> None:
        super().boot()
        self._peering_planned = inf
        self.streams = FakeStreams(self)
        self.sockets = FakeSockets(self)
        #: Hosts that the node knows itself by in its local networks.
        self.local_hosts = [self.ip]
        #: Others with the same address.
        self.neighbours: list[PeerHost] = []
        self.relaying = FakeRelaying()
        self.peering = PeeringCore(self.core, self.streams, self.sockets, lambda: self.local_hosts, self.relaying)

    def move_beside(self, other: PeerHost) -> None:
        """Share the address of another host, at other ports."""
        other.neighbours.append(self)
        self.ip = other.ip
        self.local_hosts = [self.ip]
        number = len(other.neighbours)
        self.addresses = {
            socket: self.at(int.from_bytes(address[HOST_LENGTH:], "little") + 1000 * number)
            for socket, address in self.addresses.items()
        }
        self.sockets.first_port += 1000 * number
        self.core.server_port += 1000 * number

    def listen(self, keys: KeyPair | Keeper, **options: Any) -> ServerLog:
        """:returns: what a new server comes to."""
        return ServerLog(self, _keeper(keys), ListenOptions(**options))

    def connect(self, public_key: bytes, keys: KeyPair | Keeper, **options: Any) -> ClientLog:
        """:returns: what a new attempt comes to."""
        return ClientLog(self, public_key, _keeper(keys), ConnectOptions(**options))

    def transmit(self, socket: int, address: bytes, data: bytes, ttl: int = 0) -> None:
        if socket not in self.addresses:
            return
        if ttl:  # It opens our own address translation, and dies on its way.
            self._sent_to[socket, address] = self.world.now
        else:
            super().transmit(socket, address, data, ttl)

    def arrived(self, data: bytes, source: bytes, target: bytes) -> None:
        for host in (self, *self.neighbours):
            for socket, address in list(host.addresses.items()):
                if address == target and host._is_let_in(socket, source):
                    host._take(data, source, socket)

    def _is_let_in(self, socket: int, source: bytes) -> bool:
        """There is no address translation between hosts of a local network."""
        return not self.behind_nat or source[:HOST_LENGTH] == self.ip or self._lets_in(socket, source)

    def _take(self, data: bytes, source: bytes, socket: int) -> None:
        if data[:1] == STREAM_BYTE:
            self.streams.receive(data, source, socket)
        elif (reply := self.core.receive(data, source, socket, self.world.now)) is not None:
            self.transmit(socket, source, reply)
        self.plan()

    def plan(self) -> None:
        """See that the node is woken, and its connections."""
        super().plan()
        deadline = self.peering.next_deadline()
        if deadline is not None and deadline < self._peering_planned:
            self._peering_planned = deadline
            self.world.call_at(deadline, self._wake_peering, deadline)

    def _wake_peering(self, planned: float) -> None:
        if planned == self._peering_planned:
            self._peering_planned = inf
            self.peering.advance(self.world.now)
            self.plan()

    def _wake(self, planned: float) -> None:
        super()._wake(planned)
        self.plan()


class FakeSockets:
    """Sockets besides the two of the DHT."""

    def __init__(self, host: PeerHost) -> None:
        self.opened: set[int] = set()
        #: More cannot be open at a time.
        self.most = 1000
        self.first_port = FIRST_POOL_PORT
        self._host = host
        self._next = 2

    @property
    def ever_opened(self) -> int:
        """How many there have been."""
        return self._next - 2

    def open(self) -> int:
        if len(self.opened) >= self.most:
            raise OSError("too many open files")
        number, self._next = self._next, self._next + 1
        self._host.addresses[number] = self._host.at(self.first_port + number)
        self.opened.add(number)
        return number

    def close(self, number: int) -> None:
        self.opened.remove(number)


class FakeStreams:
    """The streams of a host, by their ids."""

    def __init__(self, host: PeerHost) -> None:
        self.host = host
        self.by_id: dict[int, FakeStream] = {}
        self.made = 0
        #: More cannot be open at a time.
        self.most = 10_000

    @property
    def open(self) -> list[FakeStream]:
        """Those that have not come to their end."""
        return list(self.by_id.values())

    def create(self, firewall: Firewall) -> FakeStream:
        if len(self.by_id) >= self.most:
            raise LimitError("max_streams", self.most)
        self.made += 1
        stream = FakeStream(self, self.made | self.host.ip[HOST_LENGTH - 1] << 16, firewall)
        self.by_id[stream.id] = stream
        return stream

    def receive(self, data: bytes, source: bytes, socket: int) -> None:
        stream = self.by_id.get(int.from_bytes(data[2:6], "little"))
        if stream is not None:
            stream.receive(data[1:2], source, socket)


class FakeStream:
    """One end of a stream."""

    def __init__(self, streams: FakeStreams, id: int, firewall: Firewall) -> None:
        self.id = id
        self.connected = False
        self.closed = False
        #: Has the other end been heard?
        self.heard = False
        #: Told when it is heard for the first time.
        self.on_heard: Callable[[], None] = lambda: None
        self.socket: int | None = None
        self.address = b""
        self.changes = 0
        self._streams = streams
        self._firewall = firewall
        self._remote_id = 0

    def connect(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        if self.connected or self.closed:
            raise AssertionError("it was connected, or is at its end")
        self.connected = True
        self._go(socket, remote_id, address)

    def change_remote(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        if not self.connected or self.closed:
            raise AssertionError("it was not connected, or is at its end")
        self.changes += 1
        self._go(socket, remote_id, address)

    def destroy(self, now: float) -> None:
        if not self.closed:
            self._end()
            if self.connected:
                self._send(END)

    def receive(self, kind: bytes, source: bytes, socket: int) -> None:
        if (not self.connected or socket != self.socket) and self._firewall(socket, source, self._now):
            return
        if not self.connected or self.closed:
            return
        if kind == END:
            self._end()
            return
        if not self.heard:
            self.heard = True
            self.on_heard()
        if kind == HELLO:
            self._send(HEARD)

    @property
    def _now(self) -> float:
        return self._streams.host.world.now

    def _go(self, socket: int, remote_id: int, address: bytes) -> None:
        self.socket, self._remote_id, self.address = socket, remote_id, address
        self.heard = False
        self._hello(ATTEMPTS)

    def _hello(self, left: int) -> None:
        if left and not self.heard and not self.closed:
            self._send(HELLO)
            self._streams.host.world.call_at(self._now + AGAIN, self._hello, left - 1)

    def _send(self, kind: bytes) -> None:
        assert self.socket is not None
        data = STREAM_BYTE + kind + self._remote_id.to_bytes(4, "little")
        self._streams.host.transmit(self.socket, self.address, data)

    def _end(self) -> None:
        self.closed = True
        del self._streams.by_id[self.id]


class FakeRelaying:
    """Blind relays that do what a test says."""

    def __init__(self) -> None:
        self.appointments: list[FakeAppointment] = []

    def meet(
        self,
        place: RelayThrough,
        is_initiator: bool,
        raw: RawStream,
        met: Met,
        failed: Callable[[SpaceswarmError, float], None],
        now: float,
    ) -> FakeAppointment:
        appointment = FakeAppointment(place, is_initiator, raw, met, failed)
        self.appointments.append(appointment)
        return appointment


class FakeAppointment:
    """One stream's appointment."""

    #: Where the relay is, and the socket that it is connected over.
    ADDRESS = address_of("55.1.2.3", 5555)
    SOCKET = 33

    def __init__(
        self,
        place: RelayThrough,
        is_initiator: bool,
        raw: RawStream,
        met: Met,
        failed: Callable[[SpaceswarmError, float], None],
    ) -> None:
        self.place = place
        self.is_initiator = is_initiator
        self.raw = raw
        self.failed = failed
        self.is_upgraded = False
        self.is_cancelled = False
        self._met = met

    def met(self, now: float) -> None:
        """The other one is there."""
        self._met(self.SOCKET, 4711, self.ADDRESS, now)

    def is_relay(self, socket: int, address: bytes) -> bool:
        return (socket, address) == (self.SOCKET, self.ADDRESS)

    def upgraded(self, now: float) -> None:
        self.is_upgraded = True

    def cancel(self, now: float) -> None:
        self.is_cancelled = True


class ServerLog:
    """A server, and what it comes to."""

    def __init__(self, host: PeerHost, keeper: Keeper, options: ListenOptions) -> None:
        self.host = host
        self.listening = False
        self.closed = False
        self.connections: list[Connection] = []
        now = host.world.now
        self.listener = host.peering.listen(keeper, self._accepted, self._listening, now, options)
        host.plan()

    def _listening(self, now: float) -> None:
        self.listening = True

    def _accepted(self, connection: Connection, now: float) -> None:
        self.connections.append(connection)
        connection.raw.on_heard = partial(self.listener.heard, connection)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Begin to close it."""
        self.host.peering.close_listener(self.listener, self._closed, self.host.world.now)
        self.host.plan()

    def _closed(self, now: float) -> None:
        self.closed = True


class ClientLog:
    """An attempt to connect, and what it comes to."""

    def __init__(self, host: PeerHost, public_key: bytes, keeper: Keeper, options: ConnectOptions) -> None:
        self.host = host
        self.results: list[Connection | SpaceswarmError] = []
        self.ended_at = 0.0
        now = host.world.now
        self.connector = host.peering.connect(public_key, keeper, self._done, now, options)
        host.plan()

    def _done(self, result: Connection | SpaceswarmError, now: float) -> None:
        self.results.append(result)
        self.ended_at = now

    @property
    def connection(self) -> Connection:
        """What it has come to."""
        (result,) = self.results
        if not isinstance(result, Connection):
            raise AssertionError(f"there is no connection: {result!r}")
        return result

    @property
    def problem(self) -> SpaceswarmError:
        """Why it came to nothing."""
        (result,) = self.results
        if isinstance(result, Connection):
            raise AssertionError("there is a connection")
        return result

    def cancel(self) -> None:
        """Look no further."""
        self.connector.cancel(self.host.world.now)
        self.host.plan()


def _keeper(keys: KeyPair | Keeper) -> Keeper:
    return OwnKeys(keys) if isinstance(keys, KeyPair) else keys
