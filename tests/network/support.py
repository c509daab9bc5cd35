"""What the tests of networks and streams are written with: everything is waited for by Deferreds, nothing by time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import HostPort, INetwork, IPeerReceiver, Peer

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase
else:
    TestCase = object


class Watched:
    """Something that changes, and that can be waited for."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], object], Deferred[None]]] = []

    def when(self, condition: Callable[[], object]) -> Deferred[None]:
        """:returns: a Deferred that fires as soon as the condition holds; it is looked at after each change."""
        if condition():
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiting.append((condition, waiter))
        return waiter

    def changed(self) -> None:
        for entry in list(self._waiting):
            if entry in self._waiting and entry[0]():
                self._waiting.remove(entry)
                entry[1].callback(None)


@implementer(IPeerReceiver)
class Finder(Watched):
    """Keeps what a lookup finds."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Peer] = []
        self.rounds = 0

    def peer_found(self, peer: Peer) -> None:
        self.found.append(peer)
        self.changed()

    def lookup_updated(self) -> None:
        self.rounds += 1
        self.changed()

    def knows(self, network: INetwork) -> bool:
        return any(peer.public_key == network.public_key for peer in self.found)

    def peer(self, network: INetwork) -> Peer:
        """The last that was heard of a network."""
        return next(peer for peer in reversed(self.found) if peer.public_key == network.public_key)

    def finds(self, network: INetwork) -> Deferred[None]:
        return self.when(lambda: self.knows(network))


class Recorder(Protocol, Watched):
    """Keeps what happens to a connection."""

    def __init__(self) -> None:
        Watched.__init__(self)
        self.made = False
        self.received = bytearray()
        self.lost: Failure | None = None

    @property
    def clean(self) -> bool:
        """Was it lost in good order?"""
        return self.lost is not None and self.lost.check(ConnectionDone) is not None

    @property
    def digest(self) -> bytes:
        return sha256(self.received).digest()

    def connectionMade(self) -> None:
        self.made = True
        self.changed()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.lost is None, "connectionLost was called twice"
        self.lost = reason
        self.changed()

    def receives(self, data: bytes) -> Deferred[None]:
        return self.when(lambda: self.received == data)

    def loses(self) -> Deferred[None]:
        return self.when(lambda: self.lost is not None)


@implementer(IHalfCloseableProtocol)
class HalfCloseRecorder(Recorder):
    """Goes on writing when the other end has stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.read_lost = False
        self.write_lost = False

    def readConnectionLost(self) -> None:
        self.read_lost = True
        self.changed()

    def writeConnectionLost(self) -> None:
        self.write_lost = True
        self.changed()


class StoppedRecorder(Recorder):
    """Reads nothing until it is told to."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]
        super().connectionMade()


class Echo(Recorder):
    """Sends back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        assert self.transport is not None
        self.transport.write(data)


class Collector(Factory, Watched):
    """Keeps the protocols that it builds, and the addresses that it builds them for."""

    noisy = False

    def __init__(self, build: Callable[[], Recorder | None] = Recorder) -> None:
        Watched.__init__(self)
        self._build = build
        self.built: list[Any] = []
        self.addresses: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        protocol = self._build()
        self.addresses.append(addr)
        if protocol is not None:
            self.built.append(protocol)
        self.changed()
        return protocol

    async def connected(self, index: int = 0) -> Any:
        """The protocol of that number, as soon as it is connected."""
        await self.when(lambda: len(self.built) > index)
        protocol = self.built[index]
        await protocol.when(lambda: protocol.made)
        return protocol


@implementer(IPushProducer)
class Source(Watched):
    """Writes data to a transport as fast as that takes it."""

    PIECE = 16 * 1024

    def __init__(self, transport: Any, data: bytes) -> None:
        super().__init__()
        self.transport = transport
        self.data = data
        self.written = 0
        self.paused = False
        self.finished = False
        self._writing = False
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        if not self._writing and not self.finished:
            self._writing = True
            self._write()
            self._writing = False
        self.changed()

    def _write(self) -> None:
        while not self.paused and self.written < len(self.data):
            piece = self.data[self.written : self.written + self.PIECE]
            self.written += len(piece)
            self.transport.write(piece)
        if self.written == len(self.data):
            self.finished = True
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.paused = True
        self.changed()

    def stopProducing(self) -> None:
        self.finished = True
        self.changed()


def unanswering(test: TestCase) -> HostPort:
    """:returns: an address that takes no more connections and refuses none: an attempt stays one."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = HostPort(*listening.getsockname())
    waiting = socket.create_connection(address)  # all that a backlog of 0 holds
    test.addCleanup(waiting.close)
    test.addCleanup(listening.close)
    return address


class NetworkTests(TestCase):
    """What the parts of the conformance suite have in common."""

    #: Seconds after which trial gives a test up.
    timeout = 30

    def make_networks(self, count: int) -> Deferred[list[Any]]:
        """
        The implementation's hook.

        :returns: a Deferred of that many networks, reachable, which can find and reach each other, and no others.  The
            suite closes them; what is behind them is the implementation's to clean up (an ``addCleanup`` in here runs
            after that).
        """
        raise NotImplementedError

    async def networks(self, count: int) -> list[Any]:
        networks = await self.make_networks(count)
        for network in networks:
            self.addCleanup(network.close)
        return networks

    async def listening(self, network: Any, build: Callable[[], Recorder | None] = Recorder) -> Collector:
        """Let a network take streams."""
        collector = Collector(build)
        await network.listen(collector)
        return collector

    async def connected(
        self, build_near: Callable[[], Recorder] = Recorder, build_far: Callable[[], Recorder] = Recorder
    ) -> tuple[Any, Any]:
        """The protocols at both ends of a stream between two fresh networks; the near one opened it."""
        near, far = await self.networks(2)
        listening = await self.listening(far, build_far)
        protocol = await near.connect(Peer.keyed(far.public_key), Collector(build_near))
        return protocol, await listening.connected()

    async def turned_away(self, network: Any, peer: Peer) -> None:
        """
        No stream to the peer comes about.

        Where there is a hop in between, that may have taken the stream before the peer was asked: then it ends at once.
        """
        collector = Collector()
        try:
            protocol = await network.connect(peer, collector)
        except SpaceswarmError:
            self.assertEqual(collector.built, [])
        else:
            await protocol.loses()
