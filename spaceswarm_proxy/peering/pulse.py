"""
Hearing from nodes all the time: each is pinged every three seconds, once for all who want to know.

The servers of one node have relays in common, in a small network nearly all of them; and a ping keeps the address
translation in between open for everybody who asks from the same socket.

:source: npm ``hyperdht`` 6, whose servers ping each for itself; spec/connect.md, section 6.7.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor

from spaceswarm_proxy.dht.commands import PING
from spaceswarm_proxy.dht.message import Command, Response
from spaceswarm_proxy.dht.requests import OutgoingRequest
from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.peering.asking import Node
from spaceswarm_proxy.peering.schedule import Delayed, Schedule

#: Seconds between pings of a node.
ROUND = 3.0
#: Seconds between the moments at which pings are sent, whomever they are for: so many need few timers, and their
#: answers come together.
BEAT = 0.25

#: Told of a node, what it has answered or why it has not, and the time.
Heard = Callable[[bytes, Response | SpaceswarmError, float], None]

_PING = Command.make(True, PING)


class Pulses:
    """Whom we hear from, for all servers of a node."""

    def __init__(self, node: Node, schedule: Schedule) -> None:
        self._node = node
        self._schedule = schedule
        self._by_address: dict[bytes, _Pulse] = {}

    def __len__(self) -> int:
        """:returns: how many nodes are pinged."""
        return len(self._by_address)

    def watch(self, address: bytes, heard: Heard, now: float) -> None:
        """
        Ping a node from now on, until :meth:`unwatch`; the first time is a round from now at the latest.

        :param heard: told of every ping how it ended.
        """
        pulse = self._by_address.get(address)
        if pulse is None:
            pulse = self._by_address[address] = _Pulse(self._node, self._schedule, address)
            pulse.wait(now)
        pulse.watchers[heard] = None

    def unwatch(self, address: bytes, heard: Heard) -> None:
        """Tell one of a node no more; harmless if he is not told."""
        pulse = self._by_address.get(address)
        if pulse is not None:
            pulse.watchers.pop(heard, None)
            if not pulse.watchers:
                del self._by_address[address]
                pulse.stop()


class _Pulse:
    """Pings of one node, one after the other."""

    __slots__ = ("_address", "_node", "_request", "_schedule", "_timer", "watchers")

    def __init__(self, node: Node, schedule: Schedule, address: bytes) -> None:
        #: Who is told (a set that keeps its order).
        self.watchers: dict[Heard, None] = {}
        self._node = node
        self._schedule = schedule
        self._address = address
        self._timer: Delayed | None = None
        self._request: OutgoingRequest | None = None

    def wait(self, now: float) -> None:
        """Ping in the last beat of this round."""
        self._timer = self._schedule.call_at(floor((now + ROUND) / BEAT) * BEAT, self._ping)

    def stop(self) -> None:
        """Nobody wants to know any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._request is not None:
            self._node.forget(self._request)

    def _ping(self, now: float) -> None:
        self._timer = None
        try:
            self._request = self._node.ask(self._address, _PING, self._ended, now)
        except SpaceswarmError as problem:
            self._ended(problem, now)

    def _ended(self, answer: Response | SpaceswarmError, now: float) -> None:
        self._request = None
        for heard in list(self.watchers):
            # Those who are told before may be the reason that this one is not to be told any more.
            if heard in self.watchers:
                heard(self._address, answer, now)
        if self.watchers:
            self.wait(now)
