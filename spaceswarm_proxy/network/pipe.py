"""
A stream inside one process: two transports, each the far end of the other.

Nothing is delivered from inside a call of the far end's: what one end does reaches the other through the reactor, in
order.  An end is full when the far one has more than ``window`` bytes that its protocol has not used, and stays so
until half of that is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import StreamResetError
from spaceswarm_proxy.transport import StreamTransport

#: Bytes that an end may have sent and its far end's protocol not used, before it is full.
WINDOW = 64 * 1024


#: On the wire: the sender's direction ends.
_END = object()


class _Credit(int):
    """On the wire: so many bytes of what the receiver of this had sent have been used."""


class _Wire:
    """One direction of a pipe: what was sent arrives ``latency`` seconds later, in order."""

    __slots__ = ("_arrival", "_closed", "_deliver", "_latency", "_reactor", "_under_way")

    def __init__(self, reactor: Any, latency: float, deliver: Callable[[Sequence[object]], None]) -> None:
        self._reactor = reactor
        self._latency = latency
        self._deliver = deliver
        self._closed = False
        #: What is under way, each with the time at which it arrives; made when needed, an empty deque takes 600 bytes.
        self._under_way: deque[tuple[float, object]] | None = None
        self._arrival: IDelayedCall | None = None

    def send(self, item: object) -> None:
        """:param item: what is to arrive at the other end."""
        if self._closed:
            return
        if self._under_way is None:
            self._under_way = deque()
        self._under_way.append((self._reactor.seconds() + self._latency, item))
        if self._arrival is None:
            self._arrival = self._reactor.callLater(self._latency, self._arrive)

    def clear(self) -> None:
        """Lose what is under way."""
        self._under_way = None
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def close(self) -> None:
        """Nobody is left at the other end."""
        self._closed = True
        self.clear()

    def _arrive(self) -> None:
        self._arrival = None
        waiting, now = self._under_way, self._reactor.seconds()
        arrived = []
        while waiting and waiting[0][0] <= now:
            arrived.append(waiting.popleft()[1])
        if waiting:
            self._arrival = self._reactor.callLater(max(0.0, waiting[0][0] - now), self._arrive)
        else:
            self._under_way = None
        self._deliver(arrived)


class PipeTransport(StreamTransport):
    """One end of a pipe; :func:`pipe` makes both."""

    __slots__ = ("_far", "_lost", "_reactor", "_unused", "_used", "_window", "_wire")

    _far: PipeTransport

    def __init__(
        self,
        reactor: Any,
        host: IAddress,
        peer: IAddress,
        window: int,
        latency: float,
        lost: Callable[[PipeTransport], None] | None,
    ) -> None:
        super().__init__(host, peer)
        self._reactor = reactor
        self._window = window
        self._lost = lost
        #: Bytes sent for which no credit has come back; bytes used here for which none was given back yet.
        self._unused = 0
        self._used = 0
        #: What leads here.
        self._wire = _Wire(reactor, latency, self._arrived)

    def _arrived(self, items: Sequence[object]) -> None:
        chunks: list[bytes] = []
        for item in items:
            if isinstance(item, bytes):
                chunks.append(item)
                continue
            if chunks:
                self.data_arrived(chunks)
                chunks = []
            self._news(item)
        if chunks:
            self.data_arrived(chunks)

    def _news(self, item: object) -> None:
        if isinstance(item, _Credit):
            self._unused -= item
            if self._unused <= self._window // 2:
                self.sender_resumed()
        elif isinstance(item, Failure):
            self.connection_ended(item)
        else:
            self.end_arrived()

    # The hooks of StreamTransport.

    def _call_soon(self, function: Callable[[], None]) -> IDelayedCall:
        call: IDelayedCall = self._reactor.callLater(0, function)
        return call

    def _send(self, data: bytes) -> None:
        self._far._wire.send(data)
        self._unused += len(data)
        if self._unused > self._window:
            self.sender_paused()

    def _send_end(self) -> None:
        self._far._wire.send(_END)

    def _finish(self) -> None:
        self._send_end()
        self._far._wire.send(Failure(ConnectionDone()))
        self.connection_ended(Failure(ConnectionDone()))

    def _abort(self, error: Exception) -> None:
        self._far._wire.clear()
        self._far._wire.send(Failure(StreamResetError()))

    def _consumed(self, count: int) -> None:
        self._used += count
        # As often as keeps a sender going, and no more: full ends at half a window.
        if 2 * self._used >= self._window:
            self._far._wire.send(_Credit(self._used))
            self._used = 0

    def _disconnected(self) -> None:
        self._wire.close()
        if self._lost is not None:
            self._lost(self)


def pipe(
    reactor: Any,
    near: IAddress,
    far: IAddress,
    *,
    near_seen: IAddress | None = None,
    far_seen: IAddress | None = None,
    window: int = WINDOW,
    latency: float = 0,
    lost: Sequence[Callable[[PipeTransport], None] | None] = (None, None),
) -> tuple[PipeTransport, PipeTransport]:
    """
    Make a pipe; connect a protocol to each end with ``attach``.

    :param reactor: what carries it: ``callLater`` and ``seconds``; a ``Clock`` will do.
    :param near: the address of the end that opens the stream; ``near_seen`` is the same as the far end sees it.
    :param far: the address of the other end; ``far_seen`` is the same as the near end sees it.
    :param window: bytes that one end may send and the other not use before the sender is paused.
    :param latency: seconds from one end to the other.
    :param lost: for each end, what is called with its transport when its protocol has been told that it is over.
    :returns: the near end's transport and the far end's.

    Example::

        near, far = pipe(reactor, PeerAddress(alice), PeerAddress(bob))
        far.attach(server_protocol)
        near.attach(client_protocol)
    """
    one = PipeTransport(reactor, near, far_seen or far, window, latency, lost[0])
    other = PipeTransport(reactor, far, near_seen or near, window, latency, lost[1])
    one._far, other._far = other, one
    return one, other
