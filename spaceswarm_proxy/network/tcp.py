"""Streams to peers that are TCP services."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError as TwistedConnectError, TimeoutError as TwistedTimeoutError
from twisted.internet.interfaces import IAddress, IConnector, IProtocol, IProtocolFactory
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from spaceswarm_proxy import connecting
from spaceswarm_proxy.errors import ConnectCancelledError, ConnectError, ConnectTimeoutError, PeerUnreachableError
from spaceswarm_proxy.interfaces import HostPort, Peer, PeerAddress
from spaceswarm_proxy.network.streams import OpenStreams

#: Seconds that a connection may take to come about.
TIMEOUT = 30.0


def dial(
    reactor: Any,
    address: HostPort,
    factory: IProtocolFactory,
    timeout: float | None = TIMEOUT,
    *,
    streams: OpenStreams | None = None,
) -> Deferred[IProtocol]:
    """
    Connect to a TCP service.

    :param reactor: an ``IReactorTCP``.
    :param factory: its ``buildProtocol`` is called with a :class:`~spaceswarm_proxy.interfaces.PeerAddress` on success.
    :param timeout: seconds, or ``None`` where the caller has a time limit of its own.
    :param streams: is told of the connection's transport, and when that is lost.
    :returns: a Deferred of the protocol, connected to Twisted's own TCP transport (its ``getPeer()`` is an
        ``IPv4Address`` or ``IPv6Address``).  It fails with a :class:`~spaceswarm_proxy.errors.ConnectTimeoutError`, a
        :class:`~spaceswarm_proxy.errors.PeerUnreachableError` or, cancelled or without a protocol from the factory, a
        :class:`~spaceswarm_proxy.errors.ConnectCancelledError`.
    """
    dialling = _Dialling(reactor, _peer_address(address), factory, streams)
    if connecting.is_possible(reactor, address.host):
        dialling.start(address, timeout)
    else:
        connector = reactor.connectTCP(address.host, address.port, dialling, timeout=timeout or TIMEOUT)
        dialling.give_up = connector.disconnect
    return dialling.done


@lru_cache(maxsize=1024)
def _peer_address(address: HostPort) -> PeerAddress:
    return PeerAddress(Peer.at(*address))


class _Dialling(ClientFactory):
    """One attempt, and the connection that comes of it."""

    noisy = False
    #: Ends the attempt.
    give_up: Callable[[], object]

    def __init__(
        self, reactor: Any, address: PeerAddress, factory: IProtocolFactory, streams: OpenStreams | None
    ) -> None:
        self.reactor = reactor
        self.address = address
        self.wrapped = factory
        self.streams = streams
        self.transport: Any = None
        self.done: Deferred[IProtocol] = Deferred(self._cancelled)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _Handover(self)

    def start(self, address: HostPort, timeout: float | None) -> None:
        """Connect to an IP address."""
        skt, code = connecting.start(*address)
        if code == errno.EINPROGRESS:
            self.give_up = connecting.Connecting(self.reactor, skt, timeout, self.got_socket, self.failed).cancel
        elif code:
            skt.close()
            self.failed(Failure(connecting.problem(code)))
        else:
            self.got_socket(skt)

    def got_socket(self, skt: socket.socket) -> None:
        """There is a connected socket: make a transport of it."""
        transport = connecting.Outgoing(skt, self.reactor, self.lost)
        self.give_up = transport.abortConnection
        self.connected(transport)
        transport.start()

    def connected(self, transport: Any) -> None:
        """Put the user's protocol in the place of ours, so that nothing stands between it and the transport."""
        self.transport = transport
        if self.streams is not None:
            self.streams.opened(transport)
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
        self.lost()

    def lost(self) -> None:
        """The connection is lost."""
        transport, self.transport = self.transport, None
        if self.streams is not None and transport is not None:
            self.streams.lost(transport)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.failed(reason)

    def failed(self, reason: Failure) -> None:
        """The attempt came to nothing."""
        self._answer(Failure(_as_ours(reason.value)))

    def _cancelled(self, done: Deferred[IProtocol]) -> None:
        done.errback(ConnectCancelledError())
        self.give_up()


class _Handover(Protocol):
    """Stands in until there is a transport to connect the user's protocol to."""

    def __init__(self, dialling: _Dialling) -> None:
        self.dialling = dialling

    transport: Any

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.dialling.connected(self.transport)


def _as_ours(problem: BaseException | None) -> ConnectError:
    """What Twisted says of a failed attempt, as one of our errors."""
    if isinstance(problem, TwistedTimeoutError):
        return ConnectTimeoutError()
    if isinstance(problem, TwistedConnectError):
        return PeerUnreachableError(str(problem))
    return PeerUnreachableError(f"{type(problem).__name__}: {problem}")
