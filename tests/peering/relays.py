"""A relay and peers that are connected to it, and streams that remember what was done to them."""

from __future__ import annotations

from collections.abc import Callable

from spaceswarm_proxy.dht.sockets import SERVER_SOCKET
from spaceswarm_proxy.errors import LimitError, SpaceswarmError
from spaceswarm_proxy.peering.raw import Firewall
from spaceswarm_proxy.peering.relay_client import RelayClient
from spaceswarm_proxy.peering.relay_server import RelayLimits, RelayServer
from tests.peering.muxes import End, deliver, deliver_all

TOKEN = bytes([0x99]) * 32


class Stream:
    """One of a relay's streams."""

    def __init__(self, id: int, firewall: Firewall, ended: Callable[[float], None]) -> None:
        self.id = id
        self.firewall = firewall
        self.ended = ended
        self.relays_to: object = None
        self.connections: list[tuple[int, int, bytes]] = []
        self.destroyed = False

    def relay_to(self, other: object) -> None:
        self.relays_to = other

    def connect(self, socket: int, remote_id: int, address: bytes, now: float) -> None:
        self.connections.append((socket, remote_id, address))

    def destroy(self, now: float) -> None:
        self.destroyed = True

    def packet(self, address: bytes, socket: int = SERVER_SOCKET) -> bool:
        """A first packet comes.  :returns: whether it is let in."""
        return not self.firewall(socket, address, 0.0)


class Streams:
    """Makes them, up to a limit; their numbers count up from 1000."""

    def __init__(self) -> None:
        self.made: list[Stream] = []
        self.limit = 1 << 20

    def create(self, firewall: Firewall, ended: Callable[[float], None]) -> Stream:
        if len(self.made) >= self.limit:
            raise LimitError("max_streams", self.limit)
        self.made.append(Stream(1000 + len(self.made), firewall, ended))
        return self.made[-1]

    @property
    def alive(self) -> list[Stream]:
        """Those that nobody has destroyed."""
        return [stream for stream in self.made if not stream.destroyed]


class Peer:
    """A peer, its connection with the relay, and both ends of that."""

    def __init__(self, world: World, key: bytes, client: bool = True) -> None:
        self.near, self.far = End(), End()
        self.session = world.server.accept(self.far.mux, key, world.now)
        #: What became of pairings, in the order in which it was told.
        self.answers: list[int | SpaceswarmError] = []
        if client:
            self.client = RelayClient(self.near.mux, key, world.now)

    def pair(self, initiator: bool, stream_id: int, token: bytes = TOKEN, now: float = 0.0) -> None:
        self.client.pair(token, initiator, stream_id, lambda answer, now: self.answers.append(answer), now)

    def lost(self, now: float = 0.0) -> None:
        """The connection is gone, without a word."""
        self.near.mux.close(None, now)
        self.far.mux.close(None, now)


class World:
    """The relay."""

    def __init__(self, limits: RelayLimits | None = None) -> None:
        self.now = 0.0
        self.streams = Streams()
        self.server = RelayServer(self.streams, limits)
        self.peers: list[Peer] = []

    def peer(self, client: bool = True) -> Peer:
        """Somebody connects."""
        self.peers.append(Peer(self, bytes([len(self.peers)]) * 32, client))
        return self.peers[-1]

    def couple(self, token: bytes = TOKEN) -> tuple[Peer, Peer]:
        """Two peers connect, and are coupled: their own streams are 1 and 2."""
        one, other = self.peer(), self.peer()
        one.pair(True, 1, token)
        other.pair(False, 2, token)
        self.settle()
        return one, other

    def settle(self) -> None:
        """All that is under way arrives."""
        while any(peer.near.sent or peer.far.sent for peer in self.peers):
            for peer in self.peers:
                deliver_all(peer.near, peer.far, self.now)

    def step(self, index: int) -> None:
        """One message arrives, each way, at one peer's connection."""
        peer = self.peers[index % len(self.peers)]
        deliver(peer.near, peer.far, self.now)
        deliver(peer.far, peer.near, self.now)
