"""Channels over an encrypted connection: feeds a mux what comes, and sends what that has to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import ProtocolError, SpaceswarmError
from spaceswarm_proxy.interfaces import IRecordProtocol
from spaceswarm_proxy.peering.protomux import Mux


@implementer(IRecordProtocol, IPushProducer)
class MuxProtocol(Protocol):
    """
    The protocol of such a connection.

    Its mux can be used before it is connected: what is said by then goes out first.  While the connection takes no
    more, nothing is read either: whoever asks without listening to the answers is not asked for more questions.
    """

    def __init__(self, now: Callable[[], float], fed: Callable[[], None], lost: Callable[[Failure], None]) -> None:
        """
        :param now: tells the time, in seconds.
        :param fed: called when something has come, and was dealt with.
        :param lost: called when the connection is; its channels know by then.
        """
        self.mux = Mux(self._woken)
        self._now = now
        self._fed = fed
        self._lost = lost
        self._blocked = False

    def connectionMade(self) -> None:
        """Begin."""
        self._transport.registerProducer(self, True)
        self._woken()

    def dataReceived(self, data: bytes) -> None:
        """A record has come."""
        try:
            self.mux.receive(data, self._now())
        except ProtocolError:
            return  # The mux has closed itself, and had the connection ended.
        self._fed()

    def finish(self) -> None:
        """End the connection when all that was said is sent."""
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        problem = reason.value
        self.mux.close(problem if isinstance(problem, SpaceswarmError) else None, self._now())
        self._lost(reason)

    @property
    def _transport(self) -> Any:
        """The connection; ``None`` before there is one."""
        return self.transport

    def _woken(self) -> None:
        transport = self._transport
        if transport is None:
            return
        for message in self.mux.data_to_send():
            transport.write_record(message)
        if self.mux.violation is not None:
            transport.abort(self.mux.violation)
        else:
            self._read_or_wait()

    def _read_or_wait(self) -> None:
        if self._blocked or self.mux.paused:
            self._transport.pauseProducing()
        else:
            self._transport.resumeProducing()

    # IPushProducer: the connection's word on writing.

    def pauseProducing(self) -> None:
        """It takes no more for now."""
        self._blocked = True
        self._read_or_wait()

    def resumeProducing(self) -> None:
        """It takes more."""
        self._blocked = False
        self._read_or_wait()

    def stopProducing(self) -> None:
        """It is over; ``connectionLost`` tells more."""
