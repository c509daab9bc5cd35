"""Runs the connections of a node in its reactor: streams, sockets, handshakes, and the one that holds them together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address

from spaceswarm_proxy.dht.runner import CoreRunner
from spaceswarm_proxy.errors import ClosedError
from spaceswarm_proxy.peering.core import PeeringCore
from spaceswarm_proxy.peering.local_hosts import local_hosts
from spaceswarm_proxy.peering.socket_pool import SocketPool
from spaceswarm_proxy.udp.port import STREAM_BYTE
from spaceswarm_proxy.udx.runner import StreamsRunner

#: Seconds that a node takes at most to tell the network that its servers are gone.
FAREWELL = 3.0


#: Takes servers back from the network: told whom to tell when that is done, and the time.
Leave = Callable[[Callable[[float], None], float], None]


class PeeringRunner:
    """What stands on the core of a node: its :class:`~spaceswarm_proxy.dht.runner.RoomAbove`."""

    def __init__(self, reactor: Any, node: CoreRunner) -> None:
        """:param node: whose sockets and time these are."""
        self.now = node.now
        self.arm = node.arm
        self.soon = node.soon
        self.reactor = reactor
        self._ports = node.ports
        self.streams = StreamsRunner(reactor, node.ports.find, node.now)
        self.pool = SocketPool(reactor, node.ports, self.streams.core, self._socket_closed)
        self.streams.core.uses = self.pool.used
        self.core = PeeringCore(node.core, self.streams.core, self.pool, partial(local_hosts, node.ports.host))
        self._foreign = node.core.foreign
        node.core.foreign = self._receive_foreign
        node.above = self

    def _receive_foreign(self, data: bytes, source: bytes, socket: int, now: float) -> None:
        """A datagram that is none of the DHT's."""
        if data[:1] == _STREAM:
            self.streams.core.receive(memoryview(data), len(data), len(data), source, socket, now)
        elif self._foreign is not None:
            self._foreign(data, source, socket, now)

    def _socket_closed(self, number: int) -> None:
        self.core.socket_closed(number)

    def address_of_socket(self, number: int) -> IPv4Address:
        """:returns: what one of the node's sockets is bound to."""
        port = self._ports.find(number)
        return IPv4Address("UDP", self._ports.host, 0 if port is None else port.port)

    # What the node's runner calls.

    def turn_ended(self) -> None:
        """A turn is over."""
        self.streams.turn_ended()

    def next_deadline(self) -> float | None:
        """:returns: when :meth:`advance` has something to do, in seconds."""
        return self.core.next_deadline()

    def advance(self, now: float) -> None:
        """Do what is due."""
        self.core.advance(now)

    # Life.

    def leave(self, begin: Leave, done: Callable[[], None]) -> None:
        """
        Take the servers back from the network; not for ever, if nobody answers.

        :param begin: suspends or closes the core.
        :param done: called once.
        """

        def left(now: float) -> None:
            # It may be told after its time, too.
            if limit.active():
                limit.cancel()
                done()

        limit = self.reactor.callLater(FAREWELL, done)
        begin(left, self.now())
        if limit.active():
            self.arm()

    def drop_streams(self) -> None:
        """End all streams, and close the sockets besides the node's two."""
        self.streams.core.end_all(ClosedError("the node went quiet"), self.now())
        self.pool.clear()

    def close(self) -> None:
        """Nothing is left after this."""
        self.streams.close()
        self.pool.clear()


_STREAM = bytes([STREAM_BYTE])
