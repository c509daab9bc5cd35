"""A proxy server, its clients and the peers behind it, all in this process on a virtual clock."""

from __future__ import annotations

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from zope.interface import implementer

from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network.local import LocalHub
from spaceswarm_proxy.network.pipe import pipe
from spaceswarm_proxy.proxy.features import ALL, Feature
from spaceswarm_proxy.proxy.server import ProxyServer
from spaceswarm_proxy.proxy.wire import Event, EventType, FrameDecoder, encode, encode_data, encode_end

TOPIC = bytes(range(32))
#: What a client can do that gives its key to the server.
CUSTODIAL = ALL & ~Feature.END_TO_END


def settle(clock: Clock, turns: int = 60) -> None:
    """Let everything happen that needs no time."""
    for _ in range(turns):
        clock.advance(0)


class RawClient(Protocol):
    """The client's end of a link, frame by frame: says just what a test tells it to."""

    def __init__(self) -> None:
        self.decoder = FrameDecoder()
        self.frames: list[Event | tuple[int, bytes]] = []
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.frames += self.decoder.feed(data)

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True

    def send(self, *events: Event | bytes) -> None:
        self.transport.write(b"".join(each if isinstance(each, bytes) else encode(each) for each in events))

    def ready(self, **fields: object) -> None:
        self.send(Event(EventType.READY, **fields))

    def join(self, topic: bytes = TOPIC, **fields: object) -> None:
        self.send(Event(EventType.JOIN, topic=topic, **fields))

    def connect(self, peer: bytes, **fields: object) -> None:
        self.send(Event(EventType.CONNECT, peer=peer, **fields))

    def data(self, stream: int, payload: bytes) -> None:
        self.send(encode_data(stream, payload))

    def end(self, stream: int) -> None:
        self.send(encode_end(stream))

    def events(self, kind: int) -> list[Event]:
        return [frame for frame in self.frames if isinstance(frame, Event) and frame.type == kind]

    def received(self, stream: int) -> bytes:
        return b"".join(frame[1] for frame in self.frames if isinstance(frame, tuple) and frame[0] == stream)

    def kinds(self) -> list[int]:
        """The types of all frames so far; DATA with data is 6 as well."""
        return [EventType.ON_STREAM_DATA if isinstance(frame, tuple) else frame.type for frame in self.frames]

    def ended(self, stream: int) -> bool:
        return any((event.stream or 0) == stream for event in self.events(EventType.ON_STREAM_DATA))


@implementer(IHalfCloseableProtocol)
class PeerProtocol(Protocol):
    """A peer's end of a stream, recording."""

    def __init__(self, address: PeerAddress) -> None:
        self.address = address
        self.received = b""
        self.read_ended = False
        self.reason: object = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.read_ended = True

    def writeConnectionLost(self) -> None:
        """Recorded nowhere: the test did it."""

    def connectionLost(self, reason: object = None) -> None:
        self.reason = reason


class Peers(Factory):
    """A factory that keeps what it builds."""

    noisy = False
    refuse = False

    def __init__(self) -> None:
        self.built: list[PeerProtocol] = []

    def buildProtocol(self, address: PeerAddress) -> PeerProtocol | None:
        if self.refuse:
            return None
        self.built.append(PeerProtocol(address))
        return self.built[-1]


class World:
    """
    A server over a hub.

    :param clock: to be used instead of one of its own.
    :param network: for the server to show, instead of one on the hub.
    :param options: of :class:`ProxyServer`.
    """

    def __init__(self, clock: Clock | None = None, network: object = None, **options: object) -> None:
        self.clock = clock or Clock()
        self.hub = LocalHub(self.clock)
        self.server = ProxyServer(network or self.hub.network(), reactor=self.clock, **options)
        self.clients: list[RawClient] = []

    def settle(self) -> None:
        settle(self.clock)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            settle(self.clock, 5)

    def client(self, ready: bool = True, host: str = "198.51.100.1", **fields: object) -> RawClient:
        """
        A client, connected.

        :param ready: say READY (with ``fields``), and await the server's.
        """
        client = RawClient()
        near, far = pipe(self.clock, PeerAddress(Peer.at(host, 1)), PeerAddress(Peer.at("192.0.2.1", 4978)))
        client.link = self.server.buildProtocol(far.getPeer())
        far.attach(client.link)
        near.attach(client)
        self.clients.append(client)
        if ready:
            client.ready(**fields)
        self.settle()
        return client

    def peer(self, topic: bytes = TOPIC) -> tuple[Peers, bytes]:
        """A peer that is found under a topic.  :returns: what it has built, and its id."""
        network, peers = self.hub.network(), Peers()
        network.listen(peers)
        network.announce(topic)
        self.settle()
        return peers, network.public_key.hex().encode()

    def connected(self, **fields: object) -> tuple[RawClient, PeerProtocol]:
        """A client with stream 0 open to a peer."""
        peers, peer_id = self.peer()
        client = self.client(**fields)
        client.join()
        self.settle()
        client.connect(peer_id, **({"request": 1} if fields else {}))
        self.settle()
        return client, peers.built[0]
