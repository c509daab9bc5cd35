"""Sockets that come and go: opened to punch holes, kept for the streams that come through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall

from spaceswarm_proxy.dht.ports import NodePorts
from spaceswarm_proxy.udp.port import Streams

#: Seconds that a socket stays without a stream: another one may come the same way, or the last word be asked for again.
LINGER = 10.0
#: Sockets at most: an attempt to punch a hole out of a random translation takes 256.
MAX_SOCKETS = 1024


class SocketPool:
    """The sockets of a node beside its first two, and which of all carry streams."""

    def __init__(self, reactor: Any, ports: NodePorts, streams: Streams, closed: Callable[[int], None]) -> None:
        """
        :param streams: takes the packets of streams.
        :param closed: told of each socket that is gone.
        """
        self._reactor = reactor
        self._ports = ports
        self._streams = streams
        self._closed = closed
        self._uses: Counter[int] = Counter()
        # Those that are open, and whether somebody punches with them.
        self._punching: dict[int, bool] = {}
        self._lingering: dict[int, IDelayedCall] = {}

    def __len__(self) -> int:
        """:returns: how many sockets are open."""
        return len(self._punching)

    def open(self) -> int:
        """
        :returns: the number of a new one, bound to any free port.
        :raises OSError: there can be no more.
        """
        if len(self._punching) >= MAX_SOCKETS:
            raise OSError("there are too many sockets")
        try:
            number = self._ports.open_another()
        except CannotListenError as problem:
            raise OSError(str(problem)) from problem
        self._punching[number] = True
        return number

    def close(self, number: int) -> None:
        """Nobody punches with it any more: it goes as soon as no stream uses it."""
        if number in self._punching:
            self._punching[number] = False
            if not self._uses[number]:
                self._close(number)

    def used(self, number: int, change: int) -> None:
        """One stream more, or less, goes over a socket."""
        self._uses[number] += change
        if self._uses[number] > 0:
            self._stay(number)
            return
        del self._uses[number]
        if number in self._punching:
            self._lingering[number] = self._reactor.callLater(LINGER, self._lingered, number)

    def _stay(self, number: int) -> None:
        lingering = self._lingering.pop(number, None)
        if lingering is not None:
            lingering.cancel()
        port = self._ports.find(number)
        if port is not None:
            port.carry(self._streams)

    def _lingered(self, number: int) -> None:
        del self._lingering[number]
        if not self._punching[number]:
            self._close(number)

    def _close(self, number: int) -> None:
        del self._punching[number]
        self._ports.close_another(number)
        self._closed(number)

    def clear(self) -> None:
        """Close them all."""
        for call in self._lingering.values():
            call.cancel()
        self._lingering.clear()
        self._uses.clear()
        for number in list(self._punching):
            self._close(number)
