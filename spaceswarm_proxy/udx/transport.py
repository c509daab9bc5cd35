"""The transport of a UDX stream: what a user's protocol is connected to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.interfaces import IMessageProtocol, IMessageTransport
from spaceswarm_proxy.transport import StreamTransport
from spaceswarm_proxy.udx.runner import StreamsRunner
from spaceswarm_proxy.udx.stream import Stream

#: Bytes of a piece, on the average, below which it costs less to join them than to handle each.
_SHORT = 4 * 1024


@implementer(IMessageTransport)
class UDXTransport(StreamTransport):
    """
    One end of a stream.

    A protocol that is an :class:`~spaceswarm_proxy.interfaces.IMessageProtocol` gets the unordered messages too.
    """

    __slots__ = ("_lost", "_runner", "stream")

    def __init__(
        self,
        runner: StreamsRunner,
        stream: Stream,
        host: IAddress,
        peer: IAddress,
        lost: Callable[[UDXTransport], None] | None = None,
    ) -> None:
        """
        :param stream: becomes this one's.
        :param lost: called when the protocol has been told that it is over.
        """
        super().__init__(host, peer)
        self._runner = runner
        self._lost = lost
        self.stream = stream
        stream.owner = self

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send the pieces; long ones stay as they are, as they are copied when packets are cut."""
        pieces = list(iovec)
        if sum(map(len, pieces)) < _SHORT * len(pieces):
            self.write(b"".join(pieces))
            return
        for piece in pieces:
            self.write(piece)

    # Messages.

    @property
    def max_message(self) -> int:
        """Bytes of an unordered message at most."""
        return self.stream.max_message

    def send_message(self, data: bytes) -> None:
        """
        Send something at once that may get lost, or come twice or late.

        :raises ValueTooLargeError: it does not fit into one packet of this path.
        """
        self.stream.send_message(data)

    # What the stream tells.

    def stream_received(self, chunks: list[bytes]) -> None:
        """Data has come."""
        self.data_arrived(chunks)

    def stream_ended(self) -> None:
        """The remote sends no more."""
        self.end_arrived()

    def stream_message(self, message: bytes) -> None:
        """An unordered message has come."""
        receiver: Any = self.protocol
        if IMessageProtocol.providedBy(receiver):
            self._tell(receiver.message_received, message)

    def stream_drained(self) -> None:
        """There is room again."""
        self.sender_resumed()

    def stream_closed(self, problem: SpaceswarmError | None) -> None:
        """It is over."""
        self.connection_ended(Failure(ConnectionDone() if problem is None else problem))

    def stream_moved(self) -> None:
        """The remote is reached elsewhere: that makes no difference here."""

    # The hooks of StreamTransport.

    def _call_soon(self, function: Callable[[], None]) -> IDelayedCall:
        call: IDelayedCall = self._runner.call_soon(function)
        return call

    def _send(self, data: bytes) -> None:
        if not self.stream.write(data):
            self.sender_paused()

    def _send_end(self) -> None:
        self.stream.end()

    def _finish(self) -> None:
        self.stream.close()

    def _abort(self, error: Exception) -> None:
        self.stream.destroy(self._runner.now())

    def _consumed(self, count: int) -> None:
        self.stream.consumed(count)

    def _disconnected(self) -> None:
        if self._lost is not None:
            self._lost(self)
