"""
What is done for a topic again and again, a round each time.

    update, again      a round, not sooner than ``pause`` after the last one
    it went well       the next by itself, after ``interval`` and some chance
    it failed          the next by itself, after ``retry``
    suspended          none
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any

import txaio
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from spaceswarm_proxy._waiters import Waiters
from spaceswarm_proxy.errors import ClosedError, SpaceswarmError

log = txaio.make_logger()


@dataclass(frozen=True, slots=True)
class RoundTimes:
    """When the next round is, in seconds from the end of the last."""

    #: After one that went well; and how much longer chance may make it, so that not all come at once.
    interval: float = 600.0
    spread: float = 120.0
    #: After one that failed.
    retry: float = 30.0
    #: At least, whoever asks for it.
    pause: float = 2.0
    #: At least, when it is only that other nodes know the way to us: they may change their mind all the time.
    settle: float = 60.0


class Rounds:
    """The rounds of one topic: one at a time, and the first in a later turn of the reactor."""

    def __init__(
        self, clock: Any, run: Callable[[], Coroutine[Any, Any, None]], times: RoundTimes, random: Random
    ) -> None:
        """
        :param clock: an ``IReactorTime``.
        :param run: does one round; it raises a ``SpaceswarmError`` when that fails, and may be cancelled.
        """
        self._clock = clock
        self._run = run
        self._times = times
        self._random = random
        self._running: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        # Is the next round one that was asked for?  And if one is under way: how long after it shall it be?
        self._asked = False
        self._once_more: float | None = None
        self._last_end = -inf
        self._problem: SpaceswarmError | None = None
        self._waiters: Waiters[None] = Waiters()
        self._suspended = False
        self.closed = False

    def update(self) -> None:
        """A round as soon as may be; if one is under way, that will do."""
        if self._running is None:
            self._ask(self._times.pause)

    def again(self, pause: float | None = None) -> None:
        """
        The same, because something has changed: a round that is under way will not do.

        :param pause: seconds from the last round; by default as for everybody.
        """
        pause = self._times.pause if pause is None else pause
        if self._running is None:
            self._ask(pause)
        else:
            self._once_more = pause if self._once_more is None else min(pause, self._once_more)

    def flushed(self) -> Deferred[None]:
        """
        :returns: a Deferred, one for each caller, that fires when the round that is under way, or was asked for, has
            ended well, and fails with a ``SpaceswarmError`` when it did not.  If there is none, it is how the last
            round ended that counts.
        """
        if self.closed:
            return fail(ClosedError("closed by its owner"))
        if self._running is not None or self._asked or self._suspended:
            return self._waiters.wait()
        return succeed(None) if self._problem is None else fail(self._problem)

    def suspend(self) -> None:
        """Nothing more, until :meth:`resume`."""
        self._suspended = True
        self._stop()

    def resume(self) -> None:
        """Undo :meth:`suspend`, with a round."""
        self._suspended = False
        self.update()

    def close(self) -> None:
        """Nothing more; who waits gets a ``ClosedError``."""
        if not self.closed:
            self.closed = True
            self._stop()
            self._waiters.fail(ClosedError("closed by its owner"))

    @property
    def stopped(self) -> bool:
        """Is it closed or suspended?"""
        return self.closed or self._suspended

    # When.

    def _ask(self, pause: float) -> None:
        """A round, so long after the last one, or earlier if there would be one."""
        if self.stopped:
            return
        now = self._clock.seconds()
        # No longer than that, even if the clock was set back.
        delay = min(max(self._last_end + pause - now, 0.0), pause)
        if self._asked and self._timer is not None and self._timer.getTime() <= now + delay:
            return
        self._asked = True
        self._set_timer(delay)

    def _set_timer(self, delay: float) -> None:
        self._cancel_timer()
        self._timer = self._clock.callLater(delay, self._begin)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _stop(self) -> None:
        self._cancel_timer()
        self._asked = False
        self._once_more = None
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    # A round.

    def _begin(self) -> None:
        self._timer = None
        self._asked = False
        running = self._running = Deferred.fromCoroutine(self._run())
        running.addBoth(self._over, running)
        if self.stopped:
            self._stop()

    def _over(self, result: None | Failure, running: Deferred[None]) -> None:
        if self._running is not running or self.stopped:
            return  # It was cancelled, perhaps from inside.
        self._running = None
        self._last_end = self._clock.seconds()
        self._problem = _problem(result)
        if self._once_more is not None:
            pause, self._once_more = self._once_more, None
            self._ask(pause)
            return
        self._set_timer(self._until_next())
        if self._problem is None:
            self._waiters.fire(None)
        else:
            self._waiters.fail(self._problem)

    def _until_next(self) -> float:
        if self._problem is not None:
            return self._times.retry
        return self._times.interval + self._random.uniform(0.0, self._times.spread)


def _problem(result: None | Failure) -> SpaceswarmError | None:
    """:returns: what was wrong with a round that ended like this."""
    if result is None:
        return None
    if isinstance(result.value, SpaceswarmError):
        return result.value
    log.failure("a round failed", failure=result)
    return SpaceswarmError(result.getErrorMessage())
