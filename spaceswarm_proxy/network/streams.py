"""Which streams of a network are open."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.interfaces import ISignsOfLife


class OpenStreams:
    """The transports of the streams that are open, so that all can be tried, and ended with their network."""

    def __init__(self) -> None:
        self._transports: set[Any] = set()
        self._all_lost: Waiters[None] = Waiters()

    def __len__(self) -> int:
        return len(self._transports)

    def opened(self, transport: Any) -> None:
        """:param transport: of a stream that has just opened; one with ``abortConnection``."""
        self._transports.add(transport)

    def lost(self, transport: Any) -> None:
        """:param transport: whose protocol has been told that its connection is lost."""
        self._transports.discard(transport)
        if not self._transports:
            self._all_lost.fire(None)

    def prod(self) -> None:
        """Send a sign of life on every stream that has such: one whose peer is out of reach ends the sooner for it."""
        for transport in list(self._transports):
            life = ISignsOfLife(transport, None)
            if life is not None:
                life.send_keep_alive()

    def abort(self) -> Deferred[None]:
        """
        Abort every stream.

        :returns: a Deferred that fires when all their protocols have been told.
        """
        for transport in list(self._transports):
            transport.abortConnection()
        return self._all_lost.wait() if self._transports else succeed(None)
