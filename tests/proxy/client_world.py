"""A client and the server that a test plays, or a real one, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.network.pipe import PipeTransport, pipe
from spaceswarm_proxy.proxy.client import ProxyNetwork
from spaceswarm_proxy.proxy.wire import Event, EventType
from tests.proxy.world import CUSTODIAL, TOPIC, Peers, RawClient, settle

PEER = Peer.keyed(bytes(range(32)))
WINDOW = 256 * 1024
#: What our own server says.
OURS = {"features": int(CUSTODIAL), "window": WINDOW, "key": b"k" * 32}


class RawServer(RawClient):
    """The server's end of a link, frame by frame: says just what a test tells it to."""

    def reply(self, request: int, **fields: object) -> None:
        self.send(Event(EventType.REPLY, request=request, **fields))

    def found(self, peer: bytes = PEER.id, topic: bytes = TOPIC) -> None:
        self.send(Event(EventType.ON_PEER, topic=topic, peer=peer))

    def updated(self, topic: bytes = TOPIC) -> None:
        self.send(Event(EventType.ON_UPDATED, topic=topic))

    def open(self, stream: int = 0, request: int | None = None, peer: bytes = PEER.id, topic: bytes = TOPIC) -> None:
        self.send(Event(EventType.ON_STREAM_OPEN, topic=topic, peer=peer, stream=stream, request=request))

    def close(self, stream: int = 0) -> None:
        self.send(Event(EventType.ON_STREAM_CLOSE, stream=stream))

    def error(self, stream: int = 0, text: bytes = b"no", code: str | None = None) -> None:
        self.send(Event(EventType.ON_STREAM_ERROR, data=text, stream=stream, code=code))


@implementer(IStreamClientEndpoint)
class PipeEndpoint:
    """
    An endpoint in this process.

    :param build: makes the server's protocol of each connection.
    """

    def __init__(self, clock: Clock, build: Callable[[], IProtocol] = RawServer) -> None:
        self.clock = clock
        self.build = build
        self.refuses = False
        self.hangs = False
        #: When connections were asked for.
        self.attempts: list[float] = []
        #: The servers' protocols, and both ends of the pipes.
        self.servers: list[Any] = []
        self.pipes: list[tuple[PipeTransport, PipeTransport]] = []

    def connect(self, factory: Any) -> Deferred[IProtocol]:
        self.attempts.append(self.clock.seconds())
        if self.refuses:
            return fail(ConnectionRefusedError())
        if self.hangs:
            return Deferred()
        near, far = pipe(self.clock, PeerAddress(Peer.at("192.0.2.2", 1)), PeerAddress(Peer.at("192.0.2.1", 4978)))
        client = factory.buildProtocol(near.getPeer())
        server = self.build()
        self.servers.append(server)
        self.pipes.append((near, far))
        far.attach(server)
        near.attach(client)
        return succeed(client)

    @property
    def server(self) -> Any:
        """The newest."""
        return self.servers[-1]


class Found:
    """A receiver that keeps what it is told."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.rounds = 0

    def peer_found(self, peer: Peer) -> None:
        self.peers.append(peer)

    def lookup_updated(self) -> None:
        self.rounds += 1


class ClientWorld:
    """
    A client of a scripted server.

    :param ready: what the server's READY says; ``None``: it does not come by itself.
    :param options: of :class:`ProxyNetwork`.
    """

    def __init__(self, ready: dict[str, Any] | None = OURS, **options: Any) -> None:
        self.clock = Clock()
        self.endpoint = PipeEndpoint(self.clock)
        options = {"backoff": lambda attempt: 1.0 + attempt, "end_to_end": False, "reactor": self.clock, **options}
        self.network = ProxyNetwork(self.endpoint, **options)
        #: The events that the network emitted: ``None`` for connected, or the error of disconnected.
        self.told: list[Exception | None] = []
        self.network.events.on("connected", lambda: self.told.append(None))
        self.network.events.on("disconnected", self.told.append)
        self.settle()
        if ready is not None:
            self.server.ready(**ready)
            self.settle()

    @property
    def server(self) -> RawServer:
        return self.endpoint.server

    def settle(self) -> None:
        settle(self.clock)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.advance(1)
            settle(self.clock, 5)

    def cut(self) -> None:
        """The link is lost."""
        self.endpoint.pipes[-1][1].abortConnection()
        self.settle()

    def reconnect(self, ready: dict[str, Any] = OURS) -> None:
        """The link is lost, and there is another."""
        self.cut()
        self.pass_time(3)
        self.server.ready(**ready)
        self.settle()

    def outcome(self, done: Deferred[Any]) -> list[Any]:
        """Where the result of a Deferred will be, or the exception that it failed with."""
        results: list[Any] = []
        done.addCallbacks(results.append, lambda failure: results.append(failure.value))
        return results

    def connect(self, peer: Peer = PEER, **fields: Any) -> tuple[Any, Any]:
        """:returns: the Deferred's outcome, and the factory."""
        peers = Peers()
        results = self.outcome(self.network.connect(peer, peers))
        self.settle()
        return results, peers

    def opened(self, stream: int = 0) -> Any:
        """A stream that we opened.  :returns: its protocol."""
        results, _ = self.connect()
        request = self.server.events(EventType.CONNECT)[-1].request
        self.server.open(stream, request)
        self.settle()
        return results[0]

    def close(self) -> list[Any]:
        results = self.outcome(self.network.close())
        self.settle()
        return results
