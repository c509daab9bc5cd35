"""
Streams that are *sealed*: whoever keeps the key has the keys of the stream too, and what goes over it is his business.

The user's protocol is connected to the raw stream, when there is a way to the remote.  Until something has come on it,
the remote is told once a second where we are: a client may wait for us to send first, and whoever has the keys is some
way off.  A stream on which nothing comes in time is aborted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.errors import ConnectCancelledError, StreamTimeoutError
from spaceswarm_proxy.interfaces import ISignsOfLife, Peer, PeerAddress, SealedAddress
from spaceswarm_proxy.peering.connection import Connection
from spaceswarm_proxy.peering.runner import PeeringRunner
from spaceswarm_proxy.udx.transport import UDXTransport

log = txaio.make_logger()

#: Seconds between signs of life until the remote is heard, and in which it has to be heard when we are done with it.
_WAITING = 1.0
_FINISHING = 2.0

#: Told once whether the remote was heard.
Heard = Callable[[bool], None]


@implementer(ISignsOfLife)
class SealedTransport(UDXTransport):
    """A sealed stream, which ends when the remote is not heard in time."""

    __slots__ = ("_heard", "_silence", "lost")

    def __init__(
        self,
        peering: PeeringRunner,
        stream: Any,
        host: IAddress,
        peer: IAddress,
        timeout: float,
        heard: Heard,
    ) -> None:
        """
        :param timeout: seconds.
        :param heard: told once: when something has come, or the stream is over.
        """
        super().__init__(peering.streams, stream, host, peer)
        #: Called with this when the protocol has been told that it is over.
        self.lost: Callable[[Any], None] | None = None
        self._heard: Heard | None = heard
        self._silence = peering.reactor.callLater(timeout, self._unheard)
        stream.set_keep_alive(_WAITING, self._runner.now())
        stream.send_message(b"")

    def _unheard(self) -> None:
        self.abort(StreamTimeoutError("the remote was not heard in time"))

    def _tell_heard(self, is_heard: bool) -> None:
        heard, self._heard = self._heard, None
        if heard is None:
            return
        if self._silence.active():
            self._silence.cancel()
        self.stream.set_keep_alive(0, self._runner.now())
        heard(is_heard)

    # What the stream tells, and the hooks of StreamTransport.

    def stream_received(self, chunks: list[bytes]) -> None:
        """Data has come."""
        self._tell_heard(True)
        super().stream_received(chunks)

    def stream_closed(self, problem: Any) -> None:
        """It is over."""
        self._tell_heard(False)
        super().stream_closed(problem)

    @property
    def raw_bytes_read(self) -> int:
        """See :class:`~spaceswarm_proxy.interfaces.ISignsOfLife`."""
        return self.bytes_read

    @property
    def raw_bytes_written(self) -> int:
        """See :class:`~spaceswarm_proxy.interfaces.ISignsOfLife`."""
        return self.bytes_written

    def send_keep_alive(self) -> None:
        """Show the remote where we are.  (That it is still there is for whoever has the keys to find out.)"""
        self.stream.send_message(b"")

    def _finish(self) -> None:
        if self._heard is not None:
            self._silence.reset(_FINISHING)
        super()._finish()

    def _abort(self, error: Exception) -> None:
        self._tell_heard(False)
        super()._abort(error)

    def _disconnected(self) -> None:
        if self.lost is not None:
            self.lost(self)


#: Makes the user's protocol; with ``None`` the stream is refused.
Build = Callable[[SealedTransport], IProtocol | None]


class Sealing:
    """Connects users' protocols to raw streams."""

    def __init__(self, peering: PeeringRunner) -> None:
        self._peering = peering

    def open(
        self, connection: Connection, public_key: bytes, build: Build, timeout: float, heard: Heard
    ) -> Deferred[IProtocol]:
        """
        :param public_key: ours.
        :param build: makes the user's protocol, in a turn of its own.
        :param timeout: seconds in which the remote has to be heard.
        :param heard: told whether it was.
        :returns: a Deferred of the protocol, connected; cancelling it ends the stream.
        """
        initiator, keys = connection.initiator, connection.keys
        # A keeper in this process may have told more than whoever carries the stream needs to know.
        peer = SealedAddress(Peer.keyed(connection.remote_public_key), initiator, True, keys)  # type: ignore[arg-type]
        host = PeerAddress(Peer.keyed(public_key), initiator)
        transport = SealedTransport(self._peering, connection.raw, host, peer, timeout, heard)

        def cancelled(opened: Deferred[IProtocol]) -> None:
            connection.abandon()
            transport.abortConnection()
            opened.errback(ConnectCancelledError())

        opened: Deferred[IProtocol] = Deferred(cancelled)
        self._peering.soon(partial(_connect, connection, transport, build, opened))
        return opened

    def serve(self, public_key: bytes, build: Build, timeout: float, connection: Connection, heard: Heard) -> None:
        """The same for a client."""
        opened = self.open(connection, public_key, build, timeout, heard)
        opened.addErrback(_not_built)


def _connect(
    connection: Connection, transport: SealedTransport, build: Build, opened: Deferred[IProtocol], now: float
) -> None:
    if opened.called:
        return
    try:
        protocol = build(transport)
        if protocol is None:
            raise ConnectCancelledError("the factory built no protocol")
    except Exception as problem:
        connection.abandon()
        _refuse(connection, transport)
        opened.errback(problem)
    else:
        transport.attach(protocol)
        opened.callback(protocol)


def _not_built(failure: Failure) -> None:
    """The client is not wanted."""
    log.debug("a client was refused: {problem}", problem=failure.value)


def _refuse(connection: Connection, transport: SealedTransport) -> None:
    """A client hears our end, not a reset, which is what it gets from a server that does not understand it."""
    if connection.initiator:
        transport.abortConnection()
    else:
        transport.attach(Protocol())
        transport.loseConnection()
