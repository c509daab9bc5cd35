"""A stream's owner and a stream's user, for the tests of what is between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from spaceswarm_proxy.interfaces import Peer, PeerAddress
from spaceswarm_proxy.transport import StreamTransport

HERE = PeerAddress(Peer.at("here.example", 1))
THERE = PeerAddress(Peer.at("there.example", 2))
DONE = Failure(ConnectionDone())


class OwnedTransport(StreamTransport):
    """Keeps what it is told to do; ``turn()`` is one of the reactor's."""

    def __init__(self) -> None:
        super().__init__(HERE, THERE)
        self.clock = Clock()
        self.sent = b""
        #: The hooks that were called, apart from ``_send`` and ``_consumed``.
        self.orders: list[object] = []
        self.consumed = 0
        #: Functions that are called from inside the hook of that name.
        self.inside: dict[str, Callable[[], Any]] = {}

    def turn(self) -> None:
        self.clock.advance(1)

    def _call_soon(self, function: Callable[[], None]) -> Any:
        # Not 0: that would still be within the same ``advance``.
        return self.clock.callLater(1, function)

    def _send(self, data: bytes) -> None:
        assert not self.orders or self.orders[-1] in ("stopped", "reading"), "something was sent after the end"
        self.sent += data
        self._answer("send")

    def _send_end(self) -> None:
        self._order("end")

    def _finish(self) -> None:
        self._order("finish")

    def _abort(self, error: Exception) -> None:
        self._order("abort")

    def _consumed(self, count: int) -> None:
        self.consumed += count
        self._answer("consumed")

    def _reading_changed(self, paused: bool) -> None:
        self._order("stopped" if paused else "reading")

    def _disconnected(self) -> None:
        self._order("disconnected")

    def _order(self, order: str) -> None:
        self.orders.append(order)
        self._answer(order)

    def _answer(self, order: str) -> None:
        if order in self.inside:
            self.inside[order]()


class ScriptedProtocol(Protocol):
    """Keeps what it is told, and does what the script says when it is."""

    def __init__(self, **script: Callable[[Any], object]) -> None:
        """:param script: by a callback's name, what is called with the transport from inside it."""
        self.script = script
        self.calls: list[Any] = []
        self._inside = False

    def _called(self, name: str, call: Any) -> None:
        assert not self._inside, f"{name} came from inside another call"
        assert "lost" not in self.calls, f"{name} came after connectionLost"
        self.calls.append(call)
        self._inside = True
        try:
            if name in self.script:
                self.script[name](self.transport)
        finally:
            self._inside = False

    @property
    def received(self) -> bytes:
        return b"".join(call for call in self.calls if isinstance(call, bytes))

    def connectionMade(self) -> None:
        self._called("connectionMade", "made")

    def dataReceived(self, data: bytes) -> None:
        self._called("dataReceived", data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        self._called("connectionLost", "lost")


@implementer(IHalfCloseableProtocol)
class HalfCloseableProtocol(ScriptedProtocol):
    """One that can go on when one direction has ended."""

    def readConnectionLost(self) -> None:
        self._called("readConnectionLost", "read lost")

    def writeConnectionLost(self) -> None:
        self._called("writeConnectionLost", "write lost")


class ScriptedProducer:
    """A producer, pull or push, that keeps what it is told."""

    def __init__(self, on_resume: Callable[[], object] | None = None) -> None:
        self.calls: list[str] = []
        self.on_resume = on_resume

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        if self.on_resume is not None:
            self.on_resume()

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def stopProducing(self) -> None:
        self.calls.append("stop")


def attached(protocol: Protocol | None = None) -> tuple[OwnedTransport, Any]:
    """A transport, and the protocol that is connected to it."""
    transport, protocol = OwnedTransport(), protocol or ScriptedProtocol()
    transport.attach(protocol)
    return transport, protocol
