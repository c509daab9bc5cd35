"""
Both roles' opening handshakes: bytes in, an open (or refused) ``websockets`` core out.  No reactor, no transport.

An opening owns the core until that has left ``CONNECTING`` (open) or has written its end-of-file (refused), and feeds
it with what comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol as Shape, cast

from websockets.client import ClientProtocol
from websockets.http11 import Request, Response
from websockets.protocol import CONNECTING, Protocol as Core
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol
from websockets.uri import WebSocketURI

#: The most bytes that a request, or a response, may have; Node's limit too.
MAX_HEAD = 16 * 1024

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Handshake:
    """What both sides said when the WebSocket was opened."""

    #: The path that the client asked for, with its query.
    path: str
    #: The web page, for a client that is a browser.
    origin: str | None = None
    #: Agreed on, or ``None``.
    subprotocol: str | None = None


class Opening(Shape):
    """What the shell needs of either role."""

    core: Core

    def start(self) -> None:
        """The connection is there; the core may have something to send now."""

    def receive(self, data: bytes) -> bytes:
        """:returns: what lies behind the handshake, and is still to be given to the core."""

    def handshake(self) -> Handshake:
        """What was agreed; once the core is open."""

    def refusal(self) -> str:
        """Why it did not open, for people."""


@dataclass(frozen=True, slots=True)
class ServerRules:
    """Which clients a server lets in."""

    #: The only path that is served (without a query), or ``None`` for any.
    path: str | None = None
    #: The web pages whose scripts may connect, as ``https://host``, or ``None`` for any.  Programs that are not
    #: browsers name none and are let in: they could name whichever they like.
    origins: Sequence[str] | None = None
    #: Best first; when there are none, the client's first offer is taken, as the JavaScript servers do.
    subprotocols: Sequence[str] = ()

    def core(self, max_message: int) -> ServerProtocol:
        """The server's side of one connection; the client's offer of compression is ignored."""
        return ServerProtocol(
            origins=None if self.origins is None else [None, *(Origin(origin) for origin in self.origins)],
            select_subprotocol=lambda _core, offered: self.choose(offered),
            max_size=max_message,
        )

    def choose(self, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        """Which of the offered subprotocols; a client that insists on another closes the connection itself."""
        for ours in self.subprotocols or offered[:1]:
            if ours in offered:
                return Subprotocol(ours)
        return None

    def answer(self, core: ServerProtocol, request: Request) -> Response:
        """The response: 101, or a short text with the reason why not."""
        if self.path is not None and request.path.partition("?")[0] != self.path:
            return core.reject(HTTPStatus.NOT_FOUND, "There is nothing here.\n")
        return core.accept(request)


class ServerOpening:
    """The server's opening handshake, for one connection."""

    def __init__(self, rules: ServerRules, max_message: int) -> None:
        self.core: Core = rules.core(max_message)
        self._rules = rules
        self._head = bytearray()
        self._path = ""

    def start(self) -> None:
        """The client speaks first."""

    def receive(self, data: bytes) -> bytes:
        """
        See :meth:`Opening.receive`.

        The core is given the head alone: it would go on to read what follows as frames before the request is answered,
        and could then neither answer nor refuse.
        """
        searched = max(0, len(self._head) - len(_END_OF_HEAD) + 1)
        self._head += data
        end = self._head.find(_END_OF_HEAD, searched, MAX_HEAD)
        if end < 0:
            if len(self._head) >= MAX_HEAD:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too long.\n")
            return b""
        end += len(_END_OF_HEAD)
        head, rest = self._head[:end], bytes(self._head[end:])
        self._head.clear()
        self._answer(head)
        return rest

    def handshake(self) -> Handshake:
        """See :meth:`Opening.handshake`."""
        return Handshake(self._path, self.core.origin, self.core.subprotocol)

    def refusal(self) -> str:
        """See :meth:`Opening.refusal`."""
        return str(self.core.handshake_exc or "refused")

    def _answer(self, head: bytearray) -> None:
        core = cast(ServerProtocol, self.core)
        core.receive_data(head)
        for event in core.events_received():
            request = cast(Request, event)
            self._path = request.path
            core.send_response(self._rules.answer(core, request))

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        core = cast(ServerProtocol, self.core)
        core.send_response(core.reject(status, text))
        self._head.clear()


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """What a client asks for."""

    uri: WebSocketURI
    #: Sent as the ``Origin``, for servers that look at it.
    origin: str | None = None
    #: Best first.
    subprotocols: Sequence[str] = ()

    def core(self, max_message: int) -> ClientProtocol:
        """The client's side of one connection."""
        return ClientProtocol(
            self.uri,
            origin=None if self.origin is None else Origin(self.origin),
            subprotocols=[Subprotocol(name) for name in self.subprotocols] or None,
            max_size=max_message,
        )


class ClientOpening:
    """The client's opening handshake, for one connection."""

    def __init__(self, request: ClientRequest, max_message: int) -> None:
        self.core: Core = request.core(max_message)
        self._request = request
        self._received = 0

    def start(self) -> None:
        """Send the request."""
        core = cast(ClientProtocol, self.core)
        core.send_request(core.connect())

    def receive(self, data: bytes) -> bytes:
        """See :meth:`Opening.receive`; here the core can be trusted to find the end of the head."""
        self._received += len(data)
        self.core.receive_data(data)
        if self._received > MAX_HEAD and self.core.state is CONNECTING and not self.core.eof_sent:
            self.core.handshake_exc = ValueError("the response is too long")
            self.core.send_eof()
        return b""

    def handshake(self) -> Handshake:
        """See :meth:`Opening.handshake`."""
        return Handshake(self._request.uri.resource_name, self._request.origin, self.core.subprotocol)

    def refusal(self) -> str:
        """See :meth:`Opening.refusal`."""
        return str(self.core.handshake_exc or "no answer")
