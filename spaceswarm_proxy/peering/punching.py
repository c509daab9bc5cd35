"""
What all attempts of a node to punch holes have in common: its sockets, its time, and how much of it may go on at once.

Punch messages are datagrams of one byte at most.  They say nothing but by coming in: which socket they came in on, and
from where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from spaceswarm_proxy.dht.core import NodeCore
from spaceswarm_proxy.peering.noise_payload import Firewall
from spaceswarm_proxy.peering.random_punches import RandomPunches
from spaceswarm_proxy.peering.schedule import Schedule

#: May we punch?  Takes the other side's firewall and ours, and the addresses of both, six bytes each.
Veto = Callable[[Firewall, Firewall, tuple[bytes, ...], tuple[bytes, ...]], bool]
#: Takes the socket that a punch message came in on, the address that it came from, and the time.
Arrived = Callable[[int, bytes, float], None]


class Sockets(Protocol):
    """Makes sockets besides the two of the DHT."""

    def open(self) -> int:
        """
        :returns: the number of a new one, bound to any free port; what comes in on it goes the way of all datagrams.
        :raises OSError: there can be no more.
        """

    def close(self, number: int) -> None:
        """Nobody punches with it any more: it goes as soon as no stream uses it."""


class Punching:
    """The surroundings of punchers."""

    def __init__(self, node: NodeCore, sockets: Sockets, schedule: Schedule) -> None:
        self.node = node
        self.schedule = schedule
        self.random_punches = RandomPunches()
        self._sockets = sockets
        self._arrived: dict[int, Arrived] = {}

    def __len__(self) -> int:
        """:returns: how many sockets are open for punching."""
        return len(self._arrived)

    def open(self, arrived: Arrived) -> int:
        """
        :param arrived: told of punch messages to the new socket.
        :returns: its number.
        :raises OSError: there can be no more.
        """
        number = self._sockets.open()
        self._arrived[number] = arrived
        return number

    def close(self, number: int) -> None:
        """It is not punched with any more."""
        if self._arrived.pop(number, None) is not None:
            self._sockets.close(number)

    def received(self, source: bytes, socket: int, now: float) -> bool:
        """
        A datagram of one byte or none has come.

        :returns: whether it is a punch message: it has come in on a socket that is there for them.
        """
        arrived = self._arrived.get(socket)
        if arrived is None:
            return False
        arrived(socket, source, now)
        return True
