"""WebSockets as Twisted endpoints, around any other endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from websockets.exceptions import InvalidURI
from websockets.uri import WebSocketURI, parse_uri
from zope.interface import implementer

from spaceswarm_proxy._reactor import or_global
from spaceswarm_proxy.budget import Budget
from spaceswarm_proxy.websocket.opening import ClientOpening, ClientRequest, Opening, ServerOpening, ServerRules
from spaceswarm_proxy.websocket.protocol import MAX_HELD, MAX_MESSAGE, Settings, WebSocketProtocol

log = txaio.make_logger()


class WebSocketFactory(Factory):
    """Builds the outer connections' protocols; the user's factory is asked when a WebSocket has opened."""

    noisy = False

    def __init__(
        self, wrapped: IProtocolFactory, make_opening: Callable[[], Opening], settings: Settings, clock: Any
    ) -> None:
        """
        :param wrapped: the user's factory.
        :param make_opening: one role's opening handshake, for one connection.
        :param clock: an ``IReactorTime``.
        """
        self._wrapped = wrapped
        self._make_opening = make_opening
        self._settings = settings
        self._clock = clock
        self._opening: set[WebSocketProtocol] = set()

    def doStart(self) -> None:
        super().doStart()
        self._wrapped.doStart()

    def doStop(self) -> None:
        super().doStop()
        self._wrapped.doStop()

    def stopFactory(self) -> None:
        """Nobody else knows of the connections that have not opened yet."""
        for protocol in tuple(self._opening):
            protocol.opened.cancel()

    def buildProtocol(self, addr: Any) -> WebSocketProtocol:
        build = partial(self._wrapped.buildProtocol, addr)
        protocol = WebSocketProtocol(self._make_opening(), self._settings, self._clock, build)
        self._opening.add(protocol)
        protocol.opened.addBoth(self._no_longer_opening, protocol)
        return protocol

    def _no_longer_opening(self, result: IProtocol | Failure, protocol: WebSocketProtocol) -> IProtocol | Failure:
        self._opening.discard(protocol)
        return result


class WebSocketServerFactory(WebSocketFactory):
    """Has an eye on the connections that do not open, where nobody waits for them."""

    def buildProtocol(self, addr: Any) -> WebSocketProtocol:
        protocol = super().buildProtocol(addr)
        protocol.opened.addErrback(self._did_not_open, addr)
        return protocol

    def _did_not_open(self, failure: Failure, addr: Any) -> None:
        log.debug("no WebSocket with {addr}: {reason}", addr=addr, reason=failure.getErrorMessage())


@implementer(IStreamServerEndpoint)
@dataclass(frozen=True)
class WebSocketServerEndpoint:
    """
    Accepts WebSockets on another endpoint, which may well be one with TLS.

    A plain HTTP request is answered with 426 and a line of text.
    """

    endpoint: IStreamServerEndpoint
    #: The only path served; others get 404.  ``None`` serves any.
    path: str | None = None
    #: The web pages (``https://host``) whose scripts may connect; others get 403.  ``None`` admits all.
    origins: Sequence[str] | None = None
    #: Bytes; a longer message closes the connection with 1009.
    max_message: int = MAX_MESSAGE
    #: Bytes of unfinished messages, over all connections; who needs more when they are used up is cut off.
    max_held: int = MAX_HELD
    #: Seconds of silence before a ping, 0 for none, and for an answer to it.
    ping_interval: float = 30.0
    ping_timeout: float = 30.0
    #: Best first; with none given, the client's first offer is taken.
    subprotocols: Sequence[str] = ()
    reactor: Any = None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See ``IStreamServerEndpoint``.  The factory's ``buildProtocol`` is called for WebSockets that have opened."""
        rules = ServerRules(self.path, self.origins, self.subprotocols)
        settings = Settings(self.max_message, Budget(self.max_held), self.ping_interval, self.ping_timeout)

        def opening() -> Opening:
            return ServerOpening(rules, settings.max_message)

        factory = WebSocketServerFactory(protocolFactory, opening, settings, or_global(self.reactor))
        return self.endpoint.listen(factory)


@implementer(IStreamClientEndpoint)
@dataclass(frozen=True)
class WebSocketClientEndpoint:
    """
    Opens WebSockets over another endpoint.

    The endpoint says how to get there (with TLS, if there is to be any), the URL only what to ask for there.
    :meth:`to` makes both from a URL.
    """

    endpoint: IStreamClientEndpoint
    #: Its host goes into the ``Host`` field.
    url: str = "ws://localhost/"
    #: Sent as the ``Origin``, for servers that ask for one.
    origin: str | None = None
    #: See :class:`WebSocketServerEndpoint`.
    max_message: int = MAX_MESSAGE
    ping_interval: float = 30.0
    ping_timeout: float = 30.0
    #: To offer, best first.
    subprotocols: Sequence[str] = ()
    reactor: Any = None

    @classmethod
    def to(cls, url: str, *, reactor: Any = None, **options: Any) -> WebSocketClientEndpoint:
        """
        The endpoint that a URL means.

        :param url: ``ws://host:port/path``, or ``wss:`` with TLS and the server's certificate checked against the host.
        :param options: as for the class.
        :raises ValueError: not such a URL.
        """
        reactor = or_global(reactor)
        uri = _parse(url)
        endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, uri.host, uri.port)
        if uri.secure:
            from twisted.internet.ssl import optionsForClientTLS

            endpoint = wrapClientTLS(optionsForClientTLS(uri.host), endpoint)
        return cls(endpoint, url, reactor=reactor, **options)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See ``IStreamClientEndpoint``.

        :returns: a Deferred of the user's protocol, when the WebSocket is open.  It fails as the wrapped endpoint's
            does, or with a :class:`~spaceswarm_proxy.errors.ConnectError`.
        """
        request = ClientRequest(_parse(self.url), self.origin, self.subprotocols)
        budget = Budget(self.max_message)
        settings = Settings(self.max_message, budget, self.ping_interval, self.ping_timeout)

        def opening() -> Opening:
            return ClientOpening(request, settings.max_message)

        factory = WebSocketFactory(protocolFactory, opening, settings, or_global(self.reactor))
        return self.endpoint.connect(factory).addCallback(_opened)


def _opened(protocol: IProtocol) -> Deferred[IProtocol]:
    return cast(WebSocketProtocol, protocol).opened


def _parse(url: str) -> WebSocketURI:
    """:raises ValueError: not a ``ws:`` or ``wss:`` URL."""
    try:
        return parse_uri(url)
    except InvalidURI as problem:
        raise ValueError(str(problem)) from problem
