"""The transport that the user's protocol sees on a WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import txaio
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress, IConsumer, IProducer, IPushProducer, ITransport
from zope.interface import implementer

from spaceswarm_proxy.websocket.timers import Deadline

if TYPE_CHECKING:
    from spaceswarm_proxy.websocket.opening import Handshake
    from spaceswarm_proxy.websocket.protocol import WebSocketProtocol

log = txaio.make_logger()


@implementer(IPushProducer)
class PullToPush:
    """A pull producer that goes on by itself, one pull a reactor turn, until it is paused."""

    def __init__(self, producer: Any, clock: Any, failed: Callable[[], object]) -> None:
        """
        :param producer: an ``IPullProducer``.
        :param clock: an ``IReactorTime``.
        :param failed: called when the producer raises.
        """
        self._producer = producer
        self._failed = failed
        self._turn = Deadline(clock)

    def pauseProducing(self) -> None:
        self._turn.stop()

    def resumeProducing(self) -> None:
        self._turn.start(0, self._pull)

    def stopProducing(self) -> None:
        self._turn.stop()
        self._producer.stopProducing()

    def _pull(self) -> None:
        self.resumeProducing()
        try:
            self._producer.resumeProducing()
        except Exception:
            log.failure("a producer failed, and so ends its connection")
            self.pauseProducing()
            self._failed()


@implementer(ITransport, IConsumer, IPushProducer)
class WebSocketTransport:
    """A byte stream.  ``getPeer`` and ``getHost`` are the outer connection's."""

    def __init__(self, wire: WebSocketProtocol, handshake: Handshake, clock: Any) -> None:
        #: What was said when the WebSocket was opened: path, origin, subprotocol.
        self.handshake = handshake
        self.connected = True
        self.disconnecting = False
        self._wire = wire
        self._clock = clock
        self._producer: Any = None

    # ITransport

    def write(self, data: bytes) -> None:
        if data:
            self._wire.send(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close when all is written and the producer, if there is one, unregistered.  What comes in now is dropped."""
        if not self.disconnecting:
            self.disconnecting = True
            if self._producer is None:
                self._wire.close()

    def abortConnection(self) -> None:
        """End it now, without a word."""
        if self.connected:
            self._wire.abort(ConnectionAborted())

    def getPeer(self) -> IAddress:
        peer: IAddress = self._wire.transport.getPeer()
        return peer

    def getHost(self) -> IAddress:
        host: IAddress = self._wire.transport.getHost()
        return host

    # IConsumer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError(f"{self._producer} is registered already, so {producer} can't be")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer if streaming else PullToPush(producer, self._clock, self.abortConnection)
        if self._wire.writing_is_blocked:
            self._producer.pauseProducing()
        elif not streaming:
            self._producer.resumeProducing()

    def unregisterProducer(self) -> None:
        producer, self._producer = self._producer, None
        if isinstance(producer, PullToPush):
            producer.pauseProducing()
        if self.disconnecting:
            self._wire.close()

    # IPushProducer: the reading side.

    def pauseProducing(self) -> None:
        if self.connected:
            self._wire.pause_reading()

    def resumeProducing(self) -> None:
        if self.connected:
            self._wire.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    # What the wire tells: the writing side.

    def writing_paused(self) -> None:
        """No more for now."""
        if self._producer is not None:
            self._producer.pauseProducing()

    def writing_resumed(self) -> None:
        """There is room again."""
        if self._producer is not None:
            self._producer.resumeProducing()

    def connection_lost(self) -> None:
        """It is over; the user's protocol is told next."""
        self.connected = False
        self.disconnecting = True
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
