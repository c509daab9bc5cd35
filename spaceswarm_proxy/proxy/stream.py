"""The transport of one proxied connection, as the client's user sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from spaceswarm_proxy.interfaces import PeerAddress
from spaceswarm_proxy.transport import StreamTransport

if TYPE_CHECKING:
    from spaceswarm_proxy.proxy.client_link import ClientLink
    from spaceswarm_proxy.proxy.mux import MuxStream


class ProxyStream(StreamTransport):
    """An ``ITransport`` over one stream of a link, and that stream's owner."""

    __slots__ = ("_finishing", "_link", "_stream", "_told_end")

    def __init__(self, link: ClientLink, stream: MuxStream, host: PeerAddress, peer: PeerAddress) -> None:
        super().__init__(host, peer)
        self._link = link
        self._stream = stream
        self._told_end = False
        self._finishing = False
        stream.owner = self

    # What the link tells.

    def arrived(self) -> None:
        stream = self._stream
        if stream.inbound:
            chunks, stream.inbound = stream.inbound, []
            self.data_arrived(chunks)
        if stream.error is not None:
            self.connection_ended(Failure(stream.error))
            return
        if stream.remote_ended and not self._told_end:
            self._told_end = True
            self.end_arrived()
        if stream.closed or (self._finishing and stream.ended):
            self.connection_ended(Failure(ConnectionDone()))

    def resume_source(self) -> None:
        self.sender_resumed()

    # What the transport's user does.

    def _call_soon(self, function: Callable[[], None]) -> Any:
        return self._link.clock.callLater(0, function)

    def _send(self, data: bytes) -> None:
        if not self._link.mux.send(self._stream, data):
            self.sender_paused()
        self._link.flush()

    def _send_end(self) -> None:
        self._link.mux.end(self._stream)
        self._link.flush()

    def _finish(self) -> None:
        self._finishing = True
        self._link.finish(self._stream)

    def _abort(self, error: Exception) -> None:
        self._link.reset(self._stream, error)

    def _consumed(self, count: int) -> None:
        self._link.mux.consume(self._stream, count)
        self._link.consumed(self._stream)

    def _disconnected(self) -> None:
        """What the protocol never got is used up, as far as the link is concerned."""
        self._stream.owner = None
        unread = self._stream.debt - self._stream.consumed
        if unread:
            self._consumed(unread)
