"""A network in which nothing happens by itself: the test opens, fails, finds and ends everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import ConnectCancelledError, NotSupportedError, PeerUnreachableError
from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import (
    IAnnouncement,
    IByteCounts,
    ILookup,
    INetwork,
    IPeeringNetwork,
    IPeerReceiver,
    ISignsOfLife,
    NetworkStatus,
    Peer,
    PeerAddress,
)
from spaceswarm_proxy.swarm import RetryTimes, Swarm

TOPIC = b"\x11" * 32
OTHER_TOPIC = b"\x22" * 32
OWN_KEY = b"\x80" * 32

#: Without chance, so that tests can be exact.
TIMES = RetryTimes(short_spread=0, medium_spread=0, long_spread=0, explicit_spread=0, jitter=0)


def key(number: int, larger: bool = False) -> bytes:
    """A peer's public key, smaller than ``OWN_KEY`` or larger."""
    return (b"\xf0" if larger else b"\x01") + number.to_bytes(31, "big")


def keyed(number: int, larger: bool = False) -> Peer:
    """A peer with such a key."""
    return Peer.keyed(key(number, larger))


@implementer(IByteCounts)
class FakeTransport(StringTransport):
    """One end of a stream; the test is the other one."""

    def __init__(self, address: PeerAddress, slow_to_end: bool = False) -> None:
        super().__init__(peerAddress=address)
        self.slow_to_end = slow_to_end
        self.protocol: Any = None
        self.aborted = False
        self.bytes_read = 0
        self.over = False

    @property
    def bytes_written(self) -> int:
        return len(self.value())

    def connect(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def deliver(self, data: bytes) -> None:
        self.bytes_read += len(data)
        self.protocol.dataReceived(data)

    def end(self, reason: Exception | None = None) -> None:
        """The stream is over."""
        if not self.over:
            self.over = True
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.aborted = True
        if not self.slow_to_end:
            self.end(ConnectionAborted())


@implementer(ISignsOfLife)
class LivelyTransport(FakeTransport):
    """One that has signs of life beside the data."""

    def __init__(self, address: PeerAddress, slow_to_end: bool = False) -> None:
        super().__init__(address, slow_to_end)
        self.raw_bytes_read = 0
        self.raw_bytes_written = 0
        #: How many we have sent.
        self.keep_alives = 0

    def deliver(self, data: bytes) -> None:
        self.raw_bytes_read += len(data) + 17
        super().deliver(data)

    def write(self, data: bytes) -> None:
        self.raw_bytes_written += len(data) + 20
        super().write(data)

    def send_keep_alive(self) -> None:
        self.keep_alives += 1


class FakeAttempt:
    """A connection that the swarm wants made."""

    def __init__(self, network: FakeNetwork, peer: Peer, factory: IProtocolFactory) -> None:
        self.peer = peer
        self.cancelled = False
        self.transport = network.transport(PeerAddress(peer))
        self._network = network
        self._factory = factory
        self.deferred: Deferred[Any] = Deferred(self._cancel)

    def _cancel(self, deferred: Deferred[Any]) -> None:
        self.cancelled = True
        self._network.attempts.remove(self)
        deferred.errback(ConnectCancelledError())

    def open(self) -> FakeTransport:
        self._network.attempts.remove(self)
        protocol = self._factory.buildProtocol(PeerAddress(self.peer))
        if protocol is None:
            self.deferred.errback(PeerUnreachableError("refused"))
        else:
            self._network.open.append(self.transport)
            self.transport.connect(protocol)
            self.deferred.callback(protocol)
        return self.transport

    def fail(self, problem: Exception | None = None) -> None:
        self._network.attempts.remove(self)
        self.deferred.errback(problem or PeerUnreachableError())


class _Ongoing:
    """What a lookup and an announcement have in common."""

    def __init__(self, network: FakeNetwork, topic: bytes) -> None:
        self.network = network
        self.topic = topic
        self.updates = 0
        self.closed = False
        self.problem: Exception | None = None
        self.slow_to_close = False
        self.closing: Deferred[None] = Deferred()
        self._waiting: list[Deferred[None]] = []
        self._complete = False

    def update(self) -> None:
        self.updates += 1
        self._complete = False

    def flushed(self) -> Deferred[None]:
        if self.problem is not None:
            return fail(self.problem)
        if self._complete:
            return succeed(None)
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def complete(self, problem: Exception | None = None) -> None:
        """The round is over."""
        self._complete, self.problem = problem is None, problem
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None) if problem is None else waiter.errback(problem)

    def close(self) -> Deferred[None]:
        self.closed = True
        return self.closing if self.slow_to_close else succeed(None)


@implementer(ILookup)
class FakeLookup(_Ongoing):
    """A search whose hits the test makes up."""

    receiver: Any

    def find(self, *peers: Peer) -> None:
        for peer in peers:
            self.receiver.peer_found(peer)


@implementer(IAnnouncement)
class FakeAnnouncement(_Ongoing):
    """An announcement that is heard when the test says so."""


@implementer(IListeningPort)
class FakePort:
    """Where the network listens."""

    def __init__(self, network: FakeNetwork) -> None:
        self._network = network

    def startListening(self) -> None:
        """Part of the interface."""

    def stopListening(self) -> Deferred[None]:
        self._network.listener = None
        return succeed(None)

    def getHost(self) -> PeerAddress:
        return PeerAddress(Peer.keyed(self._network.public_key))


@implementer(INetwork)
class FakeNetwork:
    """See the module."""

    def __init__(self, public_key: bytes | None = OWN_KEY) -> None:
        self.public_key = public_key
        self.events = Events("connected", "disconnected")
        self.online = self.announces = self.listens = True
        self.detail = ""
        self.lookups: list[FakeLookup] = []
        self.announcements: list[FakeAnnouncement] = []
        self.attempts: list[FakeAttempt] = []
        self.open: list[FakeTransport] = []
        self.dialled: list[Peer] = []
        self.listener: IProtocolFactory | None = None
        self.listen_calls = 0
        self.listen_problem: Exception | None = None
        self.suspended = 0
        self.closed = False
        #: Complete every round at once.
        self.eager = True
        self.transport: type[FakeTransport] = FakeTransport

    def status(self) -> NetworkStatus:
        return NetworkStatus(self.online, self.announces, self.listens, self.detail)

    def lookup(self, topic: bytes, receiver: IPeerReceiver) -> FakeLookup:
        lookup = FakeLookup(self, topic)
        lookup.receiver = receiver
        self.lookups.append(lookup)
        if self.eager:
            lookup.complete()
        return lookup

    def announce(self, topic: bytes) -> FakeAnnouncement:
        announcement = FakeAnnouncement(self, topic)
        self.announcements.append(announcement)
        if self.eager:
            announcement.complete()
        return announcement

    def connect(self, peer: Peer, factory: IProtocolFactory) -> Deferred[Any]:
        attempt = FakeAttempt(self, peer, factory)
        self.attempts.append(attempt)
        self.dialled.append(peer)
        return attempt.deferred

    def listen(self, factory: IProtocolFactory) -> Deferred[Any]:
        self.listen_calls += 1
        if not self.listens:
            return fail(NotSupportedError("nobody can connect to us"))
        if self.listen_problem is not None:
            return fail(self.listen_problem)
        self.listener = factory
        return succeed(FakePort(self))

    def with_identity(self, key_pair: Any) -> INetwork:
        raise NotSupportedError()

    def suspend(self) -> Deferred[None]:
        self.suspended += 1
        return succeed(None)

    def resume(self) -> Deferred[None]:
        self.suspended -= 1
        return succeed(None)

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)

    # For the test.

    def attempt_to(self, peer: Peer) -> FakeAttempt:
        """The attempt under way to a peer."""
        return next(attempt for attempt in self.attempts if attempt.peer == peer)

    def arrive(self, peer: Peer, slow_to_end: bool = False) -> FakeTransport | None:
        """A peer connects to us; ``None`` if it is refused at once."""
        assert self.listener is not None
        address = PeerAddress(peer, initiator=False)
        protocol = self.listener.buildProtocol(address)
        if protocol is None:
            return None
        transport = self.transport(address, slow_to_end)
        self.open.append(transport)
        transport.connect(protocol)
        return transport

    def go_offline(self) -> None:
        self.online = False
        self.events.emit("disconnected", ConnectionLost())

    def go_online(self) -> None:
        self.online = True
        self.events.emit("connected")


@implementer(IPeeringNetwork)
class FakePeeringNetwork(FakeNetwork):
    """One that lets its user have a say before a stream opens."""

    def __init__(self) -> None:
        super().__init__()
        self.randomized = False
        #: What the swarm has said of relays, at each connect.
        self.relays: list[Any] = []
        self.relay_rule: Any = None
        self.firewall: Any = None

    def connect(self, peer: Peer, factory: IProtocolFactory, relay_through: Any = None) -> Deferred[Any]:
        self.relays.append(relay_through)
        return super().connect(peer, factory)

    def listen(self, factory: IProtocolFactory, relay_through: Any = None, firewall: Any = None) -> Deferred[Any]:
        self.relay_rule, self.firewall = relay_through, firewall
        return super().listen(factory)


class Recorder(Protocol):
    """The user's protocol."""

    def __init__(self) -> None:
        self.data = b""
        self.made = 0
        self.reason: Failure | None = None

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.reason is None
        self.reason = reason


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """A user's protocol that knows half-close."""

    halves = ""

    def readConnectionLost(self) -> None:
        self.halves += "r"

    def writeConnectionLost(self) -> None:
        self.halves += "w"


class RecorderFactory(Factory):
    """The user's factory; it keeps what it has built, and refuses on request."""

    noisy = False
    protocol = Recorder

    def __init__(self) -> None:
        self.built: list[Recorder] = []
        self.addresses: list[PeerAddress] = []
        self.refuse = False
        self.running = 0

    def doStart(self) -> None:
        self.running += 1

    def doStop(self) -> None:
        self.running -= 1

    def buildProtocol(self, address: Any) -> Recorder | None:
        if self.refuse:
            return None
        protocol = self.protocol()
        self.built.append(protocol)
        self.addresses.append(address)
        return protocol


class FixedRandom:
    """Chance that can be foretold: the first of each choice, a given part of each range."""

    def __init__(self, part: float = 0.0) -> None:
        self.part = part

    def uniform(self, low: float, high: float) -> float:
        return low + self.part * (high - low)

    def randrange(self, stop: int) -> int:
        return 0


class Scene:
    """A swarm on a fake network, and all that it tells."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.network = options.pop("network", None) or FakeNetwork()
        self.factory = options.pop("factory", None) or RecorderFactory()
        options.setdefault("random", FixedRandom())
        options.setdefault("retry_times", TIMES)
        self.swarm = Swarm(self.network, self.factory, reactor=self.clock, **options)
        self.told: list[tuple[Any, ...]] = []
        for name in ("connection", "disconnection", "peer", "updated", "ban", "connected", "disconnected"):
            self.swarm.events.on(name, self._teller(name))

    def _teller(self, name: str) -> Callable[..., None]:
        return lambda *details: self.told.append((name, *details))

    def names(self) -> list[str]:
        """The names of the events so far."""
        return [name for name, *_ in self.told]

    @property
    def lookup(self) -> FakeLookup:
        """The newest."""
        return self.network.lookups[-1]

    @property
    def announcement(self) -> FakeAnnouncement:
        """The newest."""
        return self.network.announcements[-1]

    def join(self, **roles: Any) -> Any:
        return self.swarm.join(TOPIC, **roles)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
