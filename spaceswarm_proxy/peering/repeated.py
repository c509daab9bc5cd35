"""Something that is done over and over, for a while."""

from __future__ import annotations

from collections.abc import Callable

from spaceswarm_proxy.peering.schedule import Delayed, Schedule


class Repeated:
    """Does something a number of times, each followed by a pause."""

    def __init__(
        self, schedule: Schedule, step: Callable[[int], None], times: int, pause: float, ended: Callable[[float], None]
    ) -> None:
        """
        :param step: does it; told which time it is, from 1.
        :param pause: seconds.
        :param ended: called after the last pause, unless it was stopped before.
        """
        self._schedule = schedule
        self._step = step
        self._times = times
        self._pause = pause
        self._ended = ended
        self._done = 0
        self._stopped = False
        self._next: Delayed | None = None

    def begin(self, when: float) -> None:
        """:param when: the time of the first step, in seconds."""
        self._next = self._schedule.call_at(when, self._due)

    def stop(self) -> None:
        """No more of it."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()

    def _due(self, now: float) -> None:
        if self._done == self._times:
            self._ended(now)
            return
        self._done += 1
        self._step(self._done)
        if not self._stopped:
            self._next = self._schedule.call_at(now + self._pause, self._due)
