"""
Two connections made into one: what comes in at one end goes out at the other.

The first connection has come by itself; the second is made for its sake, and while that takes, the first is not read.
Each end's writer slows the other's reader down.  Ends are carried one direction at a time; when both directions have
ended, both connections do.  A connection that fails takes the other with it, unless it had said everything before:
that it takes no more is then no reason to lose what is still on its way to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.tcp import accelerate

#: Makes the second connection, with a protocol of this factory's; the Deferred can be cancelled.
Dial = Callable[[IProtocolFactory], Deferred[IProtocol]]


class Splice:
    """The two connections of one stream, from when the first has come until both are over."""

    def __init__(self, dial: Dial, opened: Callable[[Splice, End], None], over: Callable[[Splice], None]) -> None:
        """
        :param dial: makes the second connection.
        :param opened: told of each end that is connected.
        :param over: told once.
        """
        #: The end of the connection that has come, and of the one that was made.
        self.came = End(self)
        self.made = End(self)
        self.came.other, self.made.other = self.made, self.came
        #: Why it is over, unless both sides were done.
        self.problem: BaseException | None = None
        self._dial = dial
        self._opened = opened
        self._over = over
        self._dialling: Deferred[Any] | None = None

    def abort(self) -> None:
        """End both connections now."""
        self.came.abort()
        self.made.abort()

    # What the ends tell.

    def connected(self, end: End) -> None:
        """An end is connected."""
        accelerate(end.transport)
        if ITCPTransport.providedBy(end.transport):
            # Or those that are gone without a word would be carried for ever.
            end.transport.setTcpKeepAlive(True)
        if end is self.made:
            self.came.join()
            self.made.join()
        else:
            end.transport.pauseProducing()
            self._dialling = self._dial(ready(self.made))
            self._dialling.addErrback(self._not_made).addCallback(self._dialled)
        self._opened(self, end)

    def _not_made(self, failure: Failure) -> None:
        if self.came.is_up:
            self._note(failure)
            self.came.abort()

    def _dialled(self, result: object) -> None:
        self._dialling = None
        self._end_if_over()

    def lost(self, end: End, reason: Failure) -> None:
        """An end's connection is over."""
        if end.has_ended or reason.check(ConnectionDone):
            end.other.finish()
        else:
            self._note(reason)
            end.other.abort()
        if self._dialling is not None:
            self._dialling.cancel()
        else:
            self._end_if_over()

    def _note(self, failure: Failure) -> None:
        self.problem = self.problem or failure.value

    def _end_if_over(self) -> None:
        if not (self.came.is_up or self.made.is_up):
            self._over(self)


@implementer(IHalfCloseableProtocol, IPushProducer)
class End(Protocol):
    """One of the two; as a producer, it is what the other end's writer slows down."""

    transport: Any = None
    other: End

    def __init__(self, splice: Splice) -> None:
        #: Has it said everything, or as much as could be listened to?
        self.has_ended = False
        self.is_up = False
        self._splice = splice

    def connectionMade(self) -> None:
        self.is_up = True
        self._splice.connected(self)

    def join(self) -> None:
        """Both are connected: read, as fast as the other's writer allows."""
        self.transport.resumeProducing()
        self.other.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        """It has said everything: so has the other, as its far end sees it."""
        self.has_ended = True
        if self.other.has_ended:
            self.finish()
            self.other.finish()
        elif self.other.is_up:
            self.other.end_writing()

    def writeConnectionLost(self) -> None:
        """The end has gone out; nothing follows from it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_up = False
        self._splice.lost(self, reason)

    def end_writing(self) -> None:
        """
        Tell the far end that this is all, when all is written.

        Where that cannot be told by itself, as with TLS and WebSockets, the connection is closed: nobody can know
        whether who has said everything still listens, and a service that was not told would wait for ever.
        """
        self.transport.unregisterProducer()
        half_close = getattr(self.transport, "loseWriteConnection", None)
        # A TLS transport of Twisted's would end the TCP connection below it.
        if half_close is None or ISSLTransport.providedBy(self.transport):
            self.has_ended = True
            self.transport.loseConnection()
        else:
            half_close()

    def finish(self) -> None:
        """End the connection, if it is up, when all is written."""
        if self.is_up:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        """End the connection, if it is up, now."""
        if self.is_up:
            self.transport.abortConnection()

    # IPushProducer, for the other end's transport.

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The other end is lost, which it tells by itself."""


def ready(protocol: IProtocol) -> Factory:
    """:returns: the factory of a protocol that is there already."""
    return _Ready(protocol)


class _Ready(Factory):
    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, address: IAddress | None) -> Any:
        return self._protocol
