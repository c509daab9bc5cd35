"""
Endpoints that make a network for each use, and close it after that.

For the text forms: what ``clientFromString`` gives is all that its user has in hand, so nobody else could close it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import txaio
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from spaceswarm_proxy.interfaces import INetwork

log = txaio.make_logger()


@implementer(IStreamServerEndpoint)
class OwnNetworkServerEndpoint:
    """Each ``listen`` makes a network, and closes it when it stops."""

    def __init__(
        self, make_network: Callable[[], INetwork], make_endpoint: Callable[[INetwork], IStreamServerEndpoint]
    ) -> None:
        self._make_network = make_network
        self._make_endpoint = make_endpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See ``IStreamServerEndpoint``."""
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        network = self._make_network()
        try:
            return OwnNetworkPort(await self._make_endpoint(network).listen(factory), network)
        except Exception:
            await network.close()
            raise


@implementer(IListeningPort)
class OwnNetworkPort:
    """A port whose network is closed when it stops."""

    def __init__(self, port: IListeningPort, network: INetwork) -> None:
        self._port = port
        self._network = network

    def startListening(self) -> None:
        """See ``IListeningPort``."""
        self._port.startListening()

    def stopListening(self) -> Deferred[None]:
        """:returns: a Deferred that fires when nothing of the network is left; a second call likewise."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await maybeDeferred(self._port.stopListening)
        finally:
            await self._network.close()

    def getHost(self) -> IAddress:
        """See ``IListeningPort``."""
        return self._port.getHost()


@implementer(IStreamClientEndpoint)
class OwnNetworkClientEndpoint:
    """Each ``connect`` makes a network, and closes it when the connection ends, or none comes about."""

    def __init__(
        self, make_network: Callable[[], INetwork], make_endpoint: Callable[[INetwork], IStreamClientEndpoint]
    ) -> None:
        self._make_network = make_network
        self._make_endpoint = make_endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See ``IStreamClientEndpoint``."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        network = self._make_network()
        try:
            protocol = await self._make_endpoint(network).connect(_NetworkKeepingFactory(factory, network))
        except Exception:
            await network.close()
            raise
        return cast(_NetworkKeeper, protocol).wrappedProtocol


class _NetworkKeeper(ProtocolWrapper):
    """Closes the factory's network when the connection ends."""

    def makeConnection(self, transport: ITransport) -> None:
        super().makeConnection(transport)
        if IHalfCloseableProtocol.providedBy(self.wrappedProtocol):
            alsoProvides(self, IHalfCloseableProtocol)

    def readConnectionLost(self) -> None:
        """For a user who knows of half-closed connections."""
        cast(IHalfCloseableProtocol, self.wrappedProtocol).readConnectionLost()

    def writeConnectionLost(self) -> None:
        """See :meth:`readConnectionLost`."""
        cast(IHalfCloseableProtocol, self.wrappedProtocol).writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        closing = cast(_NetworkKeepingFactory, self.factory).network.close()
        closing.addErrback(lambda failure: log.failure("a network did not close", failure=failure))


class _NetworkKeepingFactory(WrappingFactory):
    protocol = _NetworkKeeper
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, network: INetwork) -> None:
        super().__init__(wrapped)
        self.network = network
