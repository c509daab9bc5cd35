"""
One stream's appointment at a blind relay.

::

    waiting     the other peer is not there yet
    relayed     it is: the stream goes through the relay
    moving      there is a direct way, and the stream takes it; what is under way comes through the relay still
    left        the direct way is known to work, or the stream is over, or nobody came

The other peer learns of the direct way by what comes on it.  So when all that was sent through the relay has arrived,
one empty message goes out there, in case there is nothing else to be sent.

:source: npm ``hyperdht`` 6 (``confirmDirectUpgrade``); spec/connect.md, section 7.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from spaceswarm_proxy.errors import RelayAbortedError, RelayLostError, SpaceswarmError
from spaceswarm_proxy.peering.raw import RawStream
from spaceswarm_proxy.peering.relaying import Met


class Turns(Protocol):
    """The node's time and turns."""

    def now(self) -> float:
        """:returns: seconds."""

    def soon(self, function: Callable[[float], None]) -> None:
        """Call a function with the time, when this turn is over."""


class Host(Protocol):
    """The link with the relay, as its appointments see it."""

    @property
    def way(self) -> tuple[int, bytes] | None:
        """Our socket and the relay's address, when they are known."""

    def leave(self, meeting: Meeting, now: float) -> None:
        """Give the place at the relay up; harmless when that was done."""

    def linger(self, meeting: Meeting, now: float) -> None:
        """Do so in a while: whoever is at the stream's other end may have to ask again for our last word."""


class Meeting:
    """The appointment: the :class:`~spaceswarm_proxy.udx.owner.Watcher` of its stream."""

    def __init__(
        self,
        turns: Turns,
        token: bytes,
        is_initiator: bool,
        raw: RawStream,
        met: Met,
        failed: Callable[[SpaceswarmError, float], None],
    ) -> None:
        """
        :param token: what both peers show.
        :param is_initiator: which of the two places is ours.
        :param raw: a stream of ``udx``, as all that this room's runner makes.
        :param met, failed: told once what comes of it.
        """
        self.token = token
        self.is_initiator = is_initiator
        self.stream_id = raw.id
        self.ended: Callable[[float], None] = _nobody_asks
        #: Where it takes place; ``None`` when it is over, or never was to be.
        self.host: Host | None = None
        self._turns = turns
        self._raw: Any = raw
        self._met: Met | None = met
        self._failed = failed
        self._moving = False

    # What the link tells, in turns of their own.

    def meet(self, stream_id: int, now: float) -> None:
        """The other one is there, and the relay's stream for us has this number."""
        way = None if self.host is None else self.host.way
        if way is None:
            self.fail(RelayAbortedError("the relay is lost"), now)
            return
        met, self._met = self._met, None
        if met is not None:
            self._raw.watcher = self
            met(way[0], stream_id, way[1], now)

    def fail(self, problem: SpaceswarmError, now: float) -> None:
        """Nobody comes."""
        met, self._met = self._met, None
        if met is not None:
            self._leave(now)
            self._failed(problem, now)

    def relay_lost(self) -> None:
        """The relay is gone, and with it the stream, unless it goes another way by now."""
        self.host = None
        if self._met is None and not self._moving:
            self._raw.fail(RelayLostError())

    # Appointment: what the passage asks and tells.

    def is_relay(self, socket: int, address: bytes) -> bool:
        """:returns: whether packets that come this way come from the relay."""
        return self.host is not None and (socket, address) == self.host.way

    def upgraded(self, now: float) -> None:
        """There is a direct way, and the stream goes there now."""
        self._moving = True

    def cancel(self, now: float) -> None:
        """Nobody is waited for any more."""
        self._met = None
        self._leave(now)

    def _leave(self, now: float) -> None:
        if self.host is not None:
            self.host.leave(self, now)

    # Watcher: what the stream tells.

    def path_moved(self) -> None:
        """All that went through the relay has arrived: show the other one the direct way, and wait for him there."""
        self._moving = True
        self._raw.send_message(b"")
        self._raw.watch_path(True)

    def path_heard(self, socket: int, source: bytes) -> None:
        """Something has come: directly, unless the relay is on the same socket."""
        if not self.is_relay(socket, source):
            self._raw.watch_path(False)
            self._turns.soon(self._leave)

    def stream_over(self) -> None:
        """The stream has come to its end."""
        self._turns.soon(self._stream_over)

    def _stream_over(self, now: float) -> None:
        if self.host is not None:
            self.host.linger(self, now)
        self.ended(now)


def _nobody_asks(now: float) -> None:
    """Before somebody does, there is no stream that could end."""
