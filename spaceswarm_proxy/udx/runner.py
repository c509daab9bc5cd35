"""Runs the streams in a reactor: finds their sockets, keeps their one timer, and ends their turns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from random import SystemRandom
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from spaceswarm_proxy.udp.port import UDPPort
from spaceswarm_proxy.udx.core import MAX_STREAMS, UDXCore
from spaceswarm_proxy.udx.stream import Stream


class StreamsRunner:
    """The streams of a node or endpoint at work."""

    def __init__(
        self,
        reactor: Any,
        find_port: Callable[[int], UDPPort | None],
        clock: Callable[[], float],
        max_streams: int = MAX_STREAMS,
    ) -> None:
        """
        :param find_port: the socket of a number, if it is open.
        :param clock: tells the time, in seconds.
        """
        self.core = UDXCore(SystemRandom(), self._send, self._send_bunch, self._wake, max_streams)
        self.core.at_once = self._flush
        self.now = clock
        self._reactor = reactor
        self._find_port = find_port
        self._timer: IDelayedCall | None = None
        self._timer_due = 0.0
        self._soon: IDelayedCall | None = None

    def turn_ended(self) -> None:
        """What was to be read has been."""
        self.core.turn(self.now())
        self._arm()

    def close(self) -> None:
        """Destroy all streams, and be called no more."""
        self.core.close(self.now())
        for call in (self._timer, self._soon):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._soon = None

    def _send(self, socket: int, address: bytes, data: bytes) -> bool:
        port = self._find_port(socket)
        return port is None or port.send(data, address) or self._wait(port)

    def _send_bunch(self, socket: int, address: bytes, parts: list[memoryview], segment: int) -> bool:
        port = self._find_port(socket)
        return port is None or port.send_train(parts, segment, address) or self._wait(port)

    def _wait(self, port: UDPPort) -> bool:
        port.when_writable(partial(self._writable, port.number))
        return False

    def _writable(self, socket: int) -> None:
        self.core.writable(socket, self.now())
        self._arm()

    def call_soon(self, function: Callable[[], None]) -> IDelayedCall:
        """Call a function in the next turn of the reactor."""
        call: IDelayedCall = self._reactor.callLater(0, function)
        return call

    def _flush(self, stream: Stream) -> None:
        self.core.flush(stream, self.now())
        self._arm()

    def _wake(self) -> None:
        if self._soon is None:
            self._soon = self._reactor.callLater(0, self._woken)

    def _woken(self) -> None:
        self._soon = None
        self.turn_ended()

    def _arm(self) -> None:
        """See that the timer goes off in time; one that goes off too early is set again then."""
        deadline = self.core.alarm
        if self._timer is not None:
            if deadline >= self._timer_due:
                return
            self._timer.cancel()
            self._timer = None
        if deadline != inf:
            self._timer_due = deadline
            self._timer = self._reactor.callLater(max(deadline - self.now(), 0), self._advance)

    def _advance(self) -> None:
        self._timer = None
        self.core.advance(self.now())
        self._arm()
