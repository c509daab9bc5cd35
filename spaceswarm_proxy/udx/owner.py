"""
Whoever has a stream, and what that one was not told yet.

Things are noted as they come, and told at the end of a turn, in this order: data, messages, the remote's end, that
there is room again, that the remote was reached elsewhere, that it is over.  Each call may end the stream, or give it
to somebody else: so the owner is looked up anew before each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from spaceswarm_proxy.errors import SpaceswarmError
from spaceswarm_proxy.udx.packet import MAX_DATAGRAM

#: Messages that wait for the end of a turn, or for an owner; more are lost, as any may be.
MAX_MESSAGES = 1024

#: Refuses a packet: told the socket, the source and the time.
Firewall = Callable[[int, bytes, float], bool]


class Owner(Protocol):
    """Whoever has a stream."""

    def stream_received(self, chunks: list[bytes]) -> None:
        """Data has come; :meth:`Stream.consumed` follows when it is used."""

    def stream_ended(self) -> None:
        """The remote sends no more."""

    def stream_message(self, message: bytes) -> None:
        """An unordered message has come."""

    def stream_drained(self) -> None:
        """The stream was full, and is not any more."""

    def stream_closed(self, problem: SpaceswarmError | None) -> None:
        """It is over; with nothing wrong where everything has arrived.  Nothing is told after this."""

    def stream_moved(self) -> None:
        """The remote has acknowledged all that was sent before :meth:`Stream.change_remote`."""


class Watcher(Protocol):
    """
    Who looks after the way that a stream goes, beside its owner.

    It is told at once, from inside a turn: whatever it does to streams takes effect at the end of that.
    """

    def path_moved(self) -> None:
        """The remote has acknowledged all that was sent before :meth:`Stream.change_remote`."""

    def path_heard(self, socket: int, source: bytes) -> None:
        """A packet has come over the stream's own socket, from there; told while :meth:`Stream.watch_path` asks."""

    def stream_over(self) -> None:
        """The stream has come to its end."""


class News:
    """What one owner is to be told."""

    __slots__ = ("_drained", "_end", "_ended", "_messages", "_moved", "_over", "_problem", "arrived", "owner")

    def __init__(self) -> None:
        #: ``None`` before there is one, and when that one is to be told nothing more.
        self.owner: Owner | None = None
        #: Data, in order.
        self.arrived: list[bytes] = []
        self._messages: list[bytes] | None = None
        # Is it to be told: the remote's end, room again, the new remote, the end of all.
        self._end = self._drained = self._moved = self._over = False
        # Has the remote's end been noted, if only to be forgotten?
        self._ended = False
        self._problem: SpaceswarmError | None = None

    def message(self, message: bytes) -> None:
        """Note a message, if there is room for it."""
        if self._messages is None:
            self._messages = []
        if len(self._messages) < MAX_MESSAGES and len(message) <= MAX_DATAGRAM:
            self._messages.append(message)

    def ended(self) -> None:
        """Note the remote's end; only the first time counts."""
        if not self._ended:
            self._end = self._ended = True

    def drained(self) -> None:
        """Note that there is room again."""
        self._drained = True

    def moved(self) -> None:
        """Note that the remote was reached elsewhere."""
        self._moved = True

    def over(self, problem: SpaceswarmError | None) -> None:
        """Note that the stream is over; only the first time counts."""
        if not self._over:
            self._over, self._problem = True, problem

    def forget(self) -> int:
        """Nobody reads any more.  :returns: bytes of data that nobody was told of."""
        length = sum(map(len, self.arrived))
        self.arrived = []
        self._messages = None
        self._end, self._ended = False, True
        return length

    def tell(self) -> None:
        """Tell all of it."""
        self._tell_arrived()
        if self._end and self.owner is not None:
            self._end = False
            self.owner.stream_ended()
        if self._drained and self.owner is not None and not self._over:
            self._drained = False
            self.owner.stream_drained()
        if self._moved and self.owner is not None and not self._over:
            self._moved = False
            self.owner.stream_moved()
        if self._over and self.owner is not None:
            owner, self.owner = self.owner, None
            owner.stream_closed(self._problem)

    def _tell_arrived(self) -> None:
        if self.arrived and self.owner is not None:
            arrived, self.arrived = self.arrived, []
            self.owner.stream_received(arrived)
        if self._messages is not None and self.owner is not None:
            messages, self._messages = self._messages, None
            for message in messages:
                if self.owner is not None:
                    self.owner.stream_message(message)
