"""What ``listen`` and ``connect`` have in common: one peer that talks with standard input and output."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.commands.local_end import LocalEnd
from spaceswarm_proxy.commands.peer_session import PeerSession
from spaceswarm_proxy.commands.stages import Stages
from spaceswarm_proxy.commands.standard_io import attach, detach


@implementer(IHalfCloseableProtocol)
class Conversation(Protocol):
    """The peer's end; nothing of standard input is read before there is one."""

    transport: Any

    def __init__(self, reactor: Any, stdin: int, stdout: int, closes: bool = True) -> None:
        """:param closes: standard output is closed when the peer has said everything."""
        self._reactor = reactor
        self._descriptors = stdin, stdout
        #: Begun when the peer is there, finished when all is written in both directions.
        self.stages = Stages()
        self._local = LocalEnd(self.stages, stdout, closes)

    async def finished(self, session: PeerSession) -> None:
        """
        Tell of it, and wait for its end.

        :raises CommandError: it ended before all was said.
        """
        output, key = session.output, self.transport.getPeer().peer.id.decode("utf-8", "replace")
        output.news("connection", f"connected with {key}", remote_public_key=key)
        try:
            await self.stages.finished
        finally:
            detach(self._local.transport)
            sent, received = self.transport.bytes_written, self.transport.bytes_read
            text = f"closed; bytes sent: {sent}, received: {received}"
            output.news("closed", text, remote_public_key=key, sent=sent, received=received)

    # What Twisted calls.

    def connectionMade(self) -> None:
        attach(self._local, *self._descriptors, self._reactor)
        self._local.begin(self.transport)
        self.stages.begin()

    def dataReceived(self, data: bytes) -> None:
        self._local.write(data)

    def readConnectionLost(self) -> None:
        """The peer has said everything."""
        self._local.end_output()

    def writeConnectionLost(self) -> None:
        """So have we."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._local.peer_lost(reason)
