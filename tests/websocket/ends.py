"""Ends of WebSockets for the tests: one of ours on a transport in memory, and the library's bare core as its remote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri
from zope.interface import implementer

from spaceswarm_proxy.websocket.opening import ClientOpening, ClientRequest, ServerOpening, ServerRules
from spaceswarm_proxy.websocket.protocol import Settings, WebSocketProtocol

URL = "ws://a.example:80/room"


class Recorder(Protocol):
    """A user's protocol that keeps what it is told."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.calls: list[str] = []
        self.lost: list[Failure] = []

    def connectionMade(self) -> None:
        self.calls.append("made")

    def dataReceived(self, data: bytes) -> None:
        assert type(data) is bytes
        self.calls.append("data")
        self.received += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.calls.append("lost")
        self.lost.append(reason)


class Producer:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


@implementer(ITCPTransport)
class OuterTransport(StringTransport):  # type: ignore[misc]
    """A TCP connection in memory that also tells whether its direction is shut down, or it is aborted."""

    half_closed = False
    aborted = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled


class End:
    """One of ours, connected with the library's bare core; ``exchange`` moves the bytes."""

    def __init__(self, server: bool = True, settings: Settings | None = None, **options: Any) -> None:
        """:param options: of the ``ServerRules`` or the ``ClientRequest``."""
        settings = settings or Settings()
        self.clock = Clock()
        self.user: Any = Recorder()
        self.build: Callable[[], Any] = lambda: self.user
        self.remote: Any
        opening: Any
        if server:
            opening = ServerOpening(ServerRules(**options), settings.max_message)
            self.remote = ClientProtocol(parse_uri(URL), max_size=None)
        else:
            opening = ClientOpening(ClientRequest(parse_uri(URL), **options), settings.max_message)
            self.remote = ServerProtocol(max_size=None)
        self.ours = WebSocketProtocol(opening, settings, self.clock, lambda: self.build())
        self.opened: list[Any] = []
        self.ours.opened.addBoth(self.opened.append)
        self.outer: Any = OuterTransport()
        self.events: list[Any] = []

    def connect(self) -> End:
        """Connect the outer connection; the opening is :meth:`open`'s."""
        self.ours.makeConnection(self.outer)
        return self

    def open(self) -> End:
        """Connect, and go through the opening."""
        self.connect()
        if isinstance(self.remote, ClientProtocol):
            self.remote.send_request(self.remote.connect())
        self.exchange()
        if isinstance(self.remote, ServerProtocol):
            self.remote.send_response(self.remote.accept(self.events.pop()))
            self.exchange()
        return self

    def exchange(self) -> list[Any]:
        """Move bytes both ways until there are none.  :returns: what the remote has been told since the last time."""
        moved = True
        while moved:
            moved = False
            data = self.outer.value()
            self.outer.clear()
            if data:
                self.remote.receive_data(data)
                moved = True
            self.events.extend(self.remote.events_received())
            for chunk in self.remote.data_to_send():
                if chunk:
                    self.ours.dataReceived(chunk)
                    moved = True
        return self.events

    def told(self, opcode: Opcode) -> list[bytes]:
        """The payloads of the frames of a kind that the remote was sent."""
        self.exchange()
        return [bytes(event.data) for event in self.events if isinstance(event, Frame) and event.opcode is opcode]

    def lose(self, reason: Exception) -> None:
        """The outer connection ends."""
        self.ours.connectionLost(Failure(reason))


def request(path: str = "/", *fields: str) -> bytes:
    """A client's request, as bytes."""
    head = [
        f"GET {path} HTTP/1.1",
        "Host: a.example",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *fields,
    ]
    return "\r\n".join([*head, "", ""]).encode()


def factory_of(*protocols: Protocol) -> Factory:
    """Hands out these, one after the other."""
    left = iter(protocols)
    return Factory.forProtocol(lambda: next(left))
