"""The one timer of an encrypted connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from spaceswarm_proxy.secret.watch import Due, Watch


class Timer:
    """
    Tells when something is due.

    A deadline that has moved away is looked at when its time comes; only for one that has come nearer is there a call
    to the reactor.
    """

    __slots__ = ("_call", "_clock", "_stopped", "_tell", "_watch")

    def __init__(self, clock: Any, watch: Watch, tell: Callable[[Due], object]) -> None:
        """
        :param clock: an ``IReactorTime``.
        :param tell: called with what is due; it notes that, or stops the timer.
        """
        self._clock = clock
        self._watch = watch
        self._tell = tell
        self._call: IDelayedCall | None = None
        self._stopped = False

    def set(self) -> None:
        """The watch has another deadline than before."""
        deadline = None if self._stopped else self._watch.next_deadline()
        if deadline is None:
            self._cancel()
        elif self._call is None or self._call.getTime() > deadline:
            self._cancel()
            self._call = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._time_has_come)

    def stop(self) -> None:
        """Nothing will be due any more."""
        self._stopped = True
        self._cancel()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _time_has_come(self) -> None:
        self._call = None
        due = self._watch.due(self._clock.seconds())
        if due is not None:
            self._tell(due)
        self.set()
