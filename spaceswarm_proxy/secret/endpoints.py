"""The encrypted stream as Twisted endpoints, around any other endpoint: no certificates, both sides known by key."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, cast

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.secret.connection import SecretConnection, Settings
from spaceswarm_proxy.secret.opening import Opening, anybody, only
from spaceswarm_proxy.secret.pending import Pending
from spaceswarm_proxy.secret.session import Session
from spaceswarm_proxy.secret.transport import SecretTransport

log = txaio.make_logger()

#: Of a server, connections that are about to open at once.
MAX_PENDING = 256


class SecretFactory(Factory):
    """Builds the carriers' protocols; the user's factory is asked when a connection has opened."""

    noisy = False

    def __init__(
        self, wrapped: IProtocolFactory, make_session: Callable[[], Session], settings: Settings, clock: Any
    ) -> None:
        """
        :param wrapped: the user's factory; its ``buildProtocol`` is given the remote's ``PeerAddress``.
        :param make_session: a fresh session for one connection.
        :param clock: an ``IReactorTime``.
        """
        self._wrapped = wrapped
        self._make_session = make_session
        self._settings = settings
        self._clock = clock

    def doStart(self) -> None:
        super().doStart()
        self._wrapped.doStart()

    def doStop(self) -> None:
        super().doStop()
        self._wrapped.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        return SecretConnection(self._make_session(), self._settings, self._clock, self._build)

    def _build(self, transport: SecretTransport) -> IProtocol | None:
        protocol: IProtocol | None = self._wrapped.buildProtocol(transport.getPeer())
        return protocol


class SecretServerFactory(SecretFactory):
    """Has an eye on the connections that have not opened yet, for which nobody waits."""

    def __init__(self, *arguments: Any, max_pending: int) -> None:
        """:param arguments: as for :class:`SecretFactory`."""
        super().__init__(*arguments)
        self._pending: Pending[SecretConnection] = Pending(max_pending)

    def buildProtocol(self, addr: Any) -> Any:
        connection = super().buildProtocol(addr)
        oldest = self._pending.add(connection, getattr(addr, "host", None))
        connection.opened.addBoth(self._no_longer_pending, connection)
        connection.opened.addErrback(self._did_not_open, addr)
        if oldest is not None:
            oldest.opened.cancel()
        return connection

    def stopFactory(self) -> None:
        """Nobody else knows of the connections that have not opened."""
        for connection in self._pending:
            connection.opened.cancel()

    def _no_longer_pending(self, result: IProtocol | Failure, connection: SecretConnection) -> IProtocol | Failure:
        self._pending.remove(connection)
        return result

    def _did_not_open(self, failure: Failure, addr: Any) -> None:
        log.debug("no encrypted connection with {addr}: {reason}", addr=addr, reason=failure.getErrorMessage())


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class SecretServerEndpoint:
    """Accepts encrypted connections on another endpoint."""

    endpoint: IStreamServerEndpoint
    #: Who we are; clients know the public key.
    key_pair: KeyPair
    #: The public keys (32 bytes) of those who may connect; ``None`` admits everybody.
    client_keys: Collection[bytes] | None = None
    #: ``XX``, or ``IK``: a round trip less, and only who knows our public key gets an answer.  Clients do the same.
    pattern: str = "XX"
    #: Connections that are about to open at once; for one more, one of the source that has the most is given up.
    max_pending: int = MAX_PENDING
    settings: Settings = field(default_factory=Settings)
    reactor: Any = None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        See ``IStreamServerEndpoint``.

        The factory's ``buildProtocol`` is called for connections that have opened, with the client's ``PeerAddress``.
        """
        factory = SecretServerFactory(
            protocolFactory, self._session, self.settings, or_global(self.reactor), max_pending=self.max_pending
        )
        return self.endpoint.listen(factory)

    def _session(self) -> Session:
        accepts = anybody if self.client_keys is None else only(self.client_keys)
        opening = Opening(self.pattern, False, self.key_pair, accepts=accepts)
        return Session(False, self.key_pair.public_key, opening, self.settings.labels, self.settings.max_message)


@implementer(IStreamClientEndpoint)
@dataclass(frozen=True)
class SecretClientEndpoint:
    """Opens encrypted connections over another endpoint."""

    endpoint: IStreamClientEndpoint
    #: Who we are; ``None`` is somebody new for each connection.
    key_pair: KeyPair | None = None
    #: The public keys (32 bytes), one of which the server must have.  ``None`` takes any: then whoever sits on the way
    #: can be the server.
    server_keys: Collection[bytes] | None = None
    #: See :class:`SecretServerEndpoint`; ``IK`` needs the one key of the server.
    pattern: str = "XX"
    settings: Settings = field(default_factory=Settings)
    reactor: Any = None

    def __post_init__(self) -> None:
        """:raises ValueError: ``IK`` without the server's key, or with several."""
        if self.pattern == "IK" and len(self.server_keys or ()) != 1:
            raise ValueError("IK needs the public key of the server, one")

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See ``IStreamClientEndpoint``.

        :returns: a Deferred of the user's protocol, when the server has been heard.  It fails as the wrapped endpoint's
            does, with a :class:`~spaceswarm_proxy.errors.ConnectError`, or with a
            :class:`~spaceswarm_proxy.errors.HandshakeError` when the server is somebody else.
        """
        factory = SecretFactory(protocolFactory, self._session, self.settings, or_global(self.reactor))
        return self.endpoint.connect(factory).addCallback(_opened)

    def _session(self) -> Session:
        key_pair = self.key_pair or KeyPair.generate()
        accepts = anybody if self.server_keys is None else only(self.server_keys)
        known = next(iter(self.server_keys or ())) if self.pattern == "IK" else None
        opening = Opening(self.pattern, True, key_pair, remote_public_key=known, accepts=accepts)
        return Session(True, key_pair.public_key, opening, self.settings.labels, self.settings.max_message)


def _opened(protocol: IProtocol) -> Deferred[IProtocol]:
    return cast(SecretConnection, protocol).opened
