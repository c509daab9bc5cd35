"""An ``INetwork`` whose answers the test gives."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from spaceswarm_proxy.events import Events
from spaceswarm_proxy.interfaces import IAnnouncement, ILookup, INetwork, NetworkStatus, Peer, PeerAddress


@implementer(ILookup, IAnnouncement)
class FakeTopic:
    """A lookup or an announcement; ``done`` is its one ``flushed``."""

    def __init__(self, topic: bytes, receiver: Any = None) -> None:
        self.topic = topic
        self.receiver = receiver
        self.closed = False
        self.done: Deferred[None] = Deferred()

    def update(self) -> None:
        """Nothing to do."""

    def flushed(self) -> Deferred[None]:
        return self.done

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


@implementer(IListeningPort)
class FakePort:
    """Counts its stops."""

    def __init__(self, factory: IProtocolFactory) -> None:
        self.factory = factory
        self.stops = 0

    def startListening(self) -> None:
        """Nothing to do."""

    def stopListening(self) -> Deferred[None]:
        self.stops += 1
        return succeed(None)

    def getHost(self) -> PeerAddress:
        return PeerAddress(Peer(b"us"))


class Attempt:
    """One ``connect`` of a :class:`FakeNetwork`."""

    def __init__(self, peer: Peer, factory: IProtocolFactory) -> None:
        self.peer = peer
        self.factory = factory
        self.cancelled = False
        self.on_cancel: Exception | None = None
        self.done: Deferred[IProtocol] = Deferred(self._cancel)
        self.transport = StringTransport()

    def _cancel(self, done: Deferred[IProtocol]) -> None:
        self.cancelled = True
        if self.on_cancel is not None:
            done.errback(self.on_cancel)

    def succeed(self) -> IProtocol:
        """Connect.  :returns: what the factory built."""
        protocol = self.factory.buildProtocol(PeerAddress(self.peer))
        assert protocol is not None
        protocol.makeConnection(self.transport)
        self.done.callback(protocol)
        return protocol

    def fail(self, problem: Exception) -> None:
        self.done.errback(problem)


@implementer(INetwork)
class FakeNetwork:
    """Keeps what is asked of it."""

    public_key = None

    def __init__(self) -> None:
        self.events = Events("connected", "disconnected")
        self.lookups: list[FakeTopic] = []
        self.announcements: list[FakeTopic] = []
        self.attempts: list[Attempt] = []
        self.ports: list[FakePort] = []
        self.refusal: Exception | None = None
        self.closes = 0

    def status(self) -> NetworkStatus:
        return NetworkStatus(True, True, True)

    def lookup(self, topic: bytes, receiver: Any) -> FakeTopic:
        self.lookups.append(FakeTopic(topic, receiver))
        return self.lookups[-1]

    def announce(self, topic: bytes) -> FakeTopic:
        if self.refusal is not None:
            raise self.refusal
        self.announcements.append(FakeTopic(topic))
        return self.announcements[-1]

    def connect(self, peer: Peer, factory: IProtocolFactory) -> Deferred[IProtocol]:
        self.attempts.append(Attempt(peer, factory))
        return self.attempts[-1].done

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        self.ports.append(FakePort(factory))
        return succeed(self.ports[-1])

    def with_identity(self, key_pair: Any) -> FakeNetwork:
        return self

    def suspend(self) -> Deferred[None]:
        return succeed(None)

    def resume(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> Deferred[None]:
        self.closes += 1
        return succeed(None)
