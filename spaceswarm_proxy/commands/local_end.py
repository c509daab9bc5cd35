"""Standard input and output as one end of a connection, the other of which is a peer."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.commands.command import CommandError
from spaceswarm_proxy.commands.stages import Stages
from spaceswarm_proxy.commands.standard_io import close_output
from spaceswarm_proxy.errors import to_code


@implementer(IHalfCloseableProtocol, IPushProducer)
class LocalEnd(Protocol):
    """Standard input and output, connected to one peer."""

    transport: Any

    def __init__(self, stages: Stages, stdout: int, closes: bool = True) -> None:
        """
        :param stages: finished when all is written in both directions.
        :param stdout: the number of standard output.
        :param closes: let whoever reads it see the end of what the peer sends.
        """
        self._stages = stages
        self._stdout = stdout
        self._closes = closes
        self._peer: Any = None
        self._input_ended = False
        self._input_paused = False
        self._output_ending = False
        self._output_ended = False
        self._peer_over = False
        self._problem: Exception | None = None

    def begin(self, peer: Any) -> None:
        """
        Let each side's reader slow down the other's writer.

        :param peer: the transport of the connection with the peer.
        """
        self._peer = peer
        self.transport.registerProducer(self._peer, True)
        self._peer.registerProducer(self, True)

    # Standard input.

    def dataReceived(self, data: bytes) -> None:
        self._peer.write(data)

    def readConnectionLost(self) -> None:
        """Standard input has ended: so does our direction."""
        self._input_ended = True
        if not self._peer_over:
            self._peer.unregisterProducer()
            self._peer.loseWriteConnection()

    def pauseProducing(self) -> None:
        self._input_paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._input_paused = False
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The peer is gone, which it tells us by itself."""
        self.transport.pauseProducing()

    # Standard output.

    def write(self, data: bytes) -> None:
        """Something from the peer."""
        self.transport.write(data)

    def end_output(self) -> None:
        """The peer sends no more: end standard output when all is written."""
        if not self._output_ending:
            self._output_ending = True
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """All is written; or whoever read it is gone."""
        self._output_ended = True
        if self._output_ending:
            self._close_output()
        elif not self._peer_over:
            self._problem = CommandError("standard output was closed before everything was written")
            self._peer.abortConnection()
        self._end_if_done()

    def _close_output(self) -> None:
        if self._closes:
            close_output(self._stdout)

    # The end.

    def peer_lost(self, reason: Failure) -> None:
        """The connection with the peer is over; what came from it is still written."""
        self._peer_over = True
        self._problem = self._problem or self._why(reason)
        self.transport.pauseProducing()
        self.end_output()
        self._end_if_done()

    def _why(self, reason: Failure) -> Exception | None:
        if not reason.check(ConnectionDone):
            code, text = to_code(reason.value)
            return CommandError(f"the connection with the peer failed: {text}", code)
        if self._input_paused and not self._input_ended:
            return CommandError("the peer closed the connection before everything was sent")
        return None

    def _end_if_done(self) -> None:
        if not (self._peer_over and self._output_ended):
            return
        if self._problem is None:
            self._stages.finish()
        else:
            self._stages.fail(self._problem)
