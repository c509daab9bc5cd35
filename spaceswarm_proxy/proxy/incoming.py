"""Connections that peers open to the server itself, for the operator's own handler (``handle_incoming``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory

from spaceswarm_proxy.interfaces import IAnnouncement, INetwork, PeerAddress

#: A protocol factory, or just its ``buildProtocol``.
Handler = IProtocolFactory | Callable[[PeerAddress], IProtocol | None]


class _FunctionFactory(Factory):
    noisy = False

    def __init__(self, build: Callable[[PeerAddress], IProtocol | None]) -> None:
        self.buildProtocol = build  # type: ignore[method-assign,assignment]


class Incoming:
    """Announces the server itself under every topic that somebody has joined, and hands over who comes."""

    def __init__(self, network: INetwork, handler: Handler) -> None:
        self._network = network
        self._announcements: dict[bytes, IAnnouncement] = {}
        factory = handler if IProtocolFactory.providedBy(handler) else _FunctionFactory(handler)
        #: Fires when connections are accepted; fails where the network cannot do that.
        self.listening: Deferred[Any] = network.listen(factory)

    def joined(self, topic: bytes) -> None:
        """The first client has joined the topic."""
        self._announcements[topic] = self._network.announce(topic)

    def left(self, topic: bytes) -> Deferred[None]:
        """The last client has left it, perhaps only when all is closed."""
        announcement = self._announcements.pop(topic, None)
        return succeed(None) if announcement is None else announcement.close()

    def close(self) -> Deferred[Any]:
        """Announce nothing more."""
        closing = [announcement.close() for announcement in self._announcements.values()]
        self._announcements.clear()
        return DeferredList(closing, consumeErrors=True)
