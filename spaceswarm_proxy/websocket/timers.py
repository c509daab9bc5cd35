"""The clockwork of a WebSocket connection: a time limit, and a look now and then whether the remote lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Deadline:
    """Something that happens unless it is stopped in time."""

    __slots__ = ("_call", "_clock")

    def __init__(self, clock: Any) -> None:
        """:param clock: an ``IReactorTime``."""
        self._clock = clock
        self._call: Any = None

    def start(self, seconds: float, action: Callable[[], object]) -> None:
        """Do ``action`` in ``seconds``, and not what was set before."""
        self.stop()
        self._call = self._clock.callLater(seconds, self._reached, action)

    def stop(self) -> None:
        """Do nothing after all."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _reached(self, action: Callable[[], object]) -> None:
        self._call = None
        action()


class Liveness:
    """
    Pings a remote that has been silent for a while, and gives it up when it stays so.

    One timer, which is not touched by most of what comes in: :meth:`heard` sets a flag, and a look at it every
    ``interval`` is as exact as this needs to be.
    """

    def __init__(
        self,
        clock: Any,
        interval: float,
        timeout: float,
        ping: Callable[[], object],
        give_up: Callable[[], object],
    ) -> None:
        """
        :param clock: an ``IReactorTime``.
        :param interval: seconds of silence after which to ping; 0 never does.
        :param timeout: seconds after the ping in which something, anything, must come in.
        :param ping: asks the remote for a sign of life.
        :param give_up: called once, when none came.
        """
        self._deadline = Deadline(clock)
        self._interval = interval
        self._timeout = timeout
        self._ping = ping
        self._give_up = give_up
        self._heard = False
        self._asked = False
        self._excuses = 0

    def start(self) -> None:
        """Begin to watch."""
        if self._interval:
            self._heard = self._asked = False
            self._deadline.start(self._interval, self._silent_for_interval)

    def stop(self) -> None:
        """Watch no more."""
        self._asked = False
        self._deadline.stop()

    def heard(self) -> None:
        """Something came in."""
        self._heard = True
        if self._asked:
            self.start()

    def excuse(self) -> None:
        """The remote cannot be heard, or asked, and it is not its fault; until :meth:`expect`, for each call."""
        self._excuses += 1

    def expect(self) -> None:
        """Undo one :meth:`excuse`; the remote has its full time again."""
        self._excuses -= 1
        self.heard()

    def _silent_for_interval(self) -> None:
        if self._heard or self._excuses:
            self.start()
        else:
            self._asked = True
            self._deadline.start(self._timeout, self._silent_after_ping)
            self._ping()

    def _silent_after_ping(self) -> None:
        if self._excuses:
            self.start()
        else:
            self._asked = False
            self._give_up()
