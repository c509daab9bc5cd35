"""Streams to peers that are TCP services."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError as TwistedConnectError, TimeoutError as TwistedTimeoutError
from twisted.internet.interfaces import IAddress, IConnector, IProtocol, IProtocolFactory
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from spaceswarm_proxy.errors import ConnectCancelledError, ConnectError, ConnectTimeoutError, PeerUnreachableError
from spaceswarm_proxy.interfaces import HostPort, Peer, PeerAddress
from spaceswarm_proxy.network.streams import OpenStreams

#: Seconds that a connection may take to come about.
TIMEOUT = 30.0


def dial(
    reactor: Any,
    address: HostPort,
    factory: IProtocolFactory,
    timeout: float = TIMEOUT,
    *,
    streams: OpenStreams | None = None,
) -> Deferred[IProtocol]:
    """
    Connect to a TCP service.

    :param reactor: an ``IReactorTCP``.
    :param factory: its ``buildProtocol`` is called with a :class:`~spaceswarm_proxy.interfaces.PeerAddress` on success.
    :param timeout: seconds.
    :param streams: is told of the connection's transport, and when that is lost.
    :returns: a Deferred of the protocol, connected to Twisted's own TCP transport (its ``getPeer()`` is an
        ``IPv4Address`` or ``IPv6Address``).  It fails with a :class:`~spaceswarm_proxy.errors.ConnectTimeoutError`, a
        :class:`~spaceswarm_proxy.errors.PeerUnreachableError` or, cancelled or without a protocol from the factory, a
        :class:`~spaceswarm_proxy.errors.ConnectCancelledError`.
    """
    dialling = _Dialling(PeerAddress(Peer.at(*address)), factory, streams)
    dialling.connector = reactor.connectTCP(address.host, address.port, dialling, timeout=timeout)
    return dialling.done


class _Dialling(ClientFactory):
    """One attempt, and the connection that comes of it."""

    noisy = False
    connector: IConnector

    def __init__(self, address: PeerAddress, factory: IProtocolFactory, streams: OpenStreams | None) -> None:
        self.address = address
        self.wrapped = factory
        self.streams = streams
        self.transport: Any = None
        self.done: Deferred[IProtocol] = Deferred(self._cancelled)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Handover(self)

    def connected(self, transport: Any) -> None:
        """Put the user's protocol in the place of ours, so that nothing stands between it and the transport."""
        self.transport = transport
        if self.streams is not None:
            self.streams.opened(transport)
        transport.setTcpNoDelay(True)
        try:
            protocol = self._build()
            transport.protocol = protocol
            protocol.makeConnection(transport)
        except Exception:
            transport.abortConnection()
            self._answer(Failure())
        else:
            self._answer(protocol)

    def _answer(self, result: IProtocol | Failure) -> None:
        """Unless the attempt was cancelled, from inside the user's code as it may be."""
        if not self.done.called:
            self.done.callback(result)

    def _build(self) -> IProtocol:
        protocol = self.wrapped.buildProtocol(self.address)
        if protocol is None:
            raise ConnectCancelledError("the factory built no protocol")
        return protocol

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        if self.streams is not None and self.transport is not None:
            self.streams.lost(self.transport)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._answer(Failure(_as_ours(reason.value)))

    def _cancelled(self, done: Deferred[IProtocol]) -> None:
        done.errback(ConnectCancelledError())
        self.connector.disconnect()


class _Handover(Protocol):
    """Stands in until there is a transport to connect the user's protocol to."""

    def __init__(self, dialling: _Dialling) -> None:
        self.dialling = dialling

    def connectionMade(self) -> None:
        self.dialling.connected(self.transport)


def _as_ours(problem: BaseException | None) -> ConnectError:
    """What Twisted says of a failed attempt, as one of our errors."""
    if isinstance(problem, TwistedTimeoutError):
        return ConnectTimeoutError()
    if isinstance(problem, TwistedConnectError):
        return PeerUnreachableError(str(problem))
    return PeerUnreachableError(f"{type(problem).__name__}: {problem}")
