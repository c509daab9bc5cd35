"""A way between clients and a server that can be cut, and that can stand still: a TCP relay."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

LOOPBACK = "127.0.0.1"


class Links(Factory):
    """Carries what comes in to the server, and back, until it is told otherwise."""

    noisy = False

    def __init__(self, reactor: Any) -> None:
        #: Where the server is; may be changed at any time.
        self.target = 0
        self.is_cut = self.is_stalled = False
        #: The ends of all carriers.
        self.halves: set[Half] = set()
        self._reactor = reactor

    async def listen(self) -> None:
        """Begin."""
        self._port: IListeningPort = await TCP4ServerEndpoint(self._reactor, 0, interface=LOOPBACK).listen(self)

    @property
    def port(self) -> int:
        """Where clients connect."""
        number: int = self._port.getHost().port
        return number

    def buildProtocol(self, addr: object) -> Half | None:
        return None if self.is_cut else Near(self)

    def connect(self, half: Half) -> Deferred[Any]:
        """Go on to the server."""
        return TCP4ClientEndpoint(self._reactor, LOOPBACK, self.target).connect(half.factory_of_other())

    def cut(self) -> None:
        """End every carrier, and let nobody in until :meth:`mend`."""
        self.is_cut = True
        for half in tuple(self.halves):
            half.abort()

    def stall(self) -> None:
        """Carry nothing until :meth:`mend`."""
        self.is_stalled = True
        self._look()

    def mend(self) -> None:
        """All is well."""
        self.is_cut = self.is_stalled = False
        self._look()

    def _look(self) -> None:
        for half in tuple(self.halves):
            half.look()

    async def close(self) -> None:
        """Let nobody in any more, and end what there is."""
        self.cut()
        await self._port.stopListening()


@implementer(IPushProducer)
class Half(Protocol):
    """One end of a carrier; for the other end it is a producer."""

    def __init__(self, links: Links, other: Half | None = None) -> None:
        self.links = links
        self.other = other
        self._is_full = False

    def factory_of_other(self) -> Factory:
        """Builds the other end."""
        factory = Factory.forProtocol(lambda: Half(self.links, self))  # type: ignore[arg-type]
        factory.noisy = False
        return factory

    def connectionMade(self) -> None:
        self.links.halves.add(self)
        self._set_no_delay()
        if self.other is not None:
            self._join(self.other)

    def _set_no_delay(self) -> None:
        assert self.transport is not None
        self.transport.setTcpNoDelay(True)  # type: ignore[attr-defined]

    def _join(self, other: Half) -> None:
        """Both are there."""
        if other not in self.links.halves:
            self.abort()
            return
        other.other = self
        for one, another in ((self, other), (other, self)):
            one.transport.registerProducer(another, True)  # type: ignore[union-attr]
            another.look()

    def look(self) -> None:
        """Read, or do not."""
        transport: Any = self.transport
        if self.other is None or self._is_full or self.links.is_stalled:
            transport.pauseProducing()
        else:
            transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        if self.other is not None and self.other in self.links.halves:
            self.other.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.links.halves.discard(self)
        other, self.other = self.other, None
        if other is not None and other in self.links.halves:
            other.transport.unregisterProducer()  # type: ignore[union-attr]
            other.transport.loseConnection()  # type: ignore[union-attr]

    def abort(self) -> None:
        """End it at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    # IPushProducer, for the other end.

    def pauseProducing(self) -> None:
        self._is_full = True
        self.look()

    def resumeProducing(self) -> None:
        self._is_full = False
        self.look()

    def stopProducing(self) -> None:
        """The other end says so itself."""


class Near(Half):
    """The client's end."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.look()
        self.links.connect(self).addErrback(lambda _: self.abort())
