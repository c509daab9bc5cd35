"""
When a peer is tried again, and before whom.

All of it is arithmetic: the time is an argument, and whoever owns the timer asks for :meth:`RetrySchedule.deadline`.

There are four delays, drawn once for each swarm so that swarms do not move in step (Hyperswarm draws the greater part
once for each process).  Which of them a peer waits is told by :func:`choose_delay`.  Timers are coarse: each delay has
a beat of 0.66 of its length, and a peer's turn comes on the second beat after it was added, that is after 0.66 to 1.32
times the delay.  Peers that failed together, as they do when our own connection to the internet went, are so tried in
one go.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

#: How long a beat is, as a part of the delay.
BEAT = 0.66
#: A peer that has failed more often than this in a row is given up, unless it is an explicit one.
MOST_ATTEMPTS = 3
#: For explicit peers, there is one attempt more before only the longest delay brings the next.
EAGER_ATTEMPTS = 5

LOWEST_PRIORITY = 0
LOW_PRIORITY = 1
NORMAL_PRIORITY = 2
HIGH_PRIORITY = 3
HIGHEST_PRIORITY = 4

_PRIORITIES = (NORMAL_PRIORITY, HIGHEST_PRIORITY, HIGH_PRIORITY, LOW_PRIORITY)

Item = TypeVar("Item", bound=Hashable)


class Delay(IntEnum):
    """The four delays."""

    SHORT = 0
    MEDIUM = 1
    LONG = 2
    EXPLICIT = 3


@dataclass(frozen=True, slots=True)
class RetryTimes:
    """The four delays in seconds, each with how much longer chance may make it."""

    short: float = 1.0
    short_spread: float = 0.5
    medium: float = 5.0
    medium_spread: float = 1.0
    long: float = 15.0
    long_spread: float = 2.0
    #: For explicit peers that have failed too often for the others.
    explicit: float = 600.0
    explicit_spread: float = 120.0
    #: On top of each.
    jitter: float = 0.5
    #: A connection that was open for so long ends a row of failures.
    forgive_after: float = 15.0

    def draw(self, uniform: Callable[[float, float], float]) -> tuple[float, float, float, float]:
        """
        :param uniform: as ``random.Random.uniform``.
        :returns: the delays as one swarm uses them, in the order of :class:`Delay`, in seconds.
        """

        def one(base: float, spread: float) -> float:
            return base + uniform(0.0, spread) + uniform(0.0, self.jitter)

        return (
            one(self.short, self.short_spread),
            one(self.medium, self.medium_spread),
            one(self.long, self.long_spread),
            one(self.explicit, self.explicit_spread),
        )


def priority_of(attempts: int) -> int:
    """
    How soon a peer's turn comes: higher ones go first.

    :param attempts: connections to it that failed or ended, in a row.
    """
    return _PRIORITIES[attempts] if attempts <= MOST_ATTEMPTS else LOWEST_PRIORITY


def choose_delay(attempts: int, proven: bool, explicit: bool) -> Delay | None:
    """
    How long to wait after a connection that we opened has failed or ended.

    :param attempts: those that failed or ended in a row, this one included.
    :param proven: a connection to the peer was open once.
    :param explicit: the user asked for this very peer.
    :returns: ``None``: not again.
    """
    if attempts > MOST_ATTEMPTS:
        return Delay.EXPLICIT if explicit else None
    if attempts == 0:
        return Delay.SHORT
    return (Delay.SHORT, Delay.MEDIUM, Delay.LONG, Delay.LONG)[attempts - 1 if proven else attempts]


class CoarseTimer(Generic[Item]):
    """
    A queue of items whose turn comes on the second beat after they were added.

    The beats are counted from the moment at which the first item was added.
    """

    def __init__(self, delay: float) -> None:
        """:param delay: seconds, more than 0."""
        self._beat = delay * BEAT
        self._start: float | None = None
        # Items and the beat on which their turn comes; as that never falls, the first is always due first.
        self._due: dict[Item, int] = {}
        self._latest = 0

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: Item, now: float) -> None:
        """Put an item at the end, or move it there."""
        if self._start is None:
            self._start = now
        beat = int((now - self._start) / self._beat) + 2
        # The clock on the wall may be set back.
        self._latest = max(self._latest, beat)
        self._due.pop(item, None)
        self._due[item] = self._latest

    def discard(self, item: Item) -> None:
        """Take an item out, if it is there."""
        self._due.pop(item, None)

    def deadline(self) -> float | None:
        """:returns: when the first item's turn comes, or ``None`` while there is none."""
        if not self._due:
            return None
        return self._at(next(iter(self._due.values())))

    def due(self, now: float) -> list[Item]:
        """Take out the items whose turn has come, in the order in which they were added."""
        ready = []
        for item, beat in self._due.items():
            if self._at(beat) > now:
                break
            ready.append(item)
        for item in ready:
            del self._due[item]
        return ready

    def _at(self, beat: int) -> float:
        return (self._start or 0.0) + beat * self._beat


class RetrySchedule(Generic[Item]):
    """Who waits for the next attempt; each item waits once at most."""

    def __init__(self, delays: tuple[float, float, float, float]) -> None:
        """:param delays: in the order of :class:`Delay`, seconds; see :meth:`RetryTimes.draw`."""
        self._timers: tuple[CoarseTimer[Item], ...] = tuple(CoarseTimer(delay) for delay in delays)

    def __len__(self) -> int:
        return sum(len(timer) for timer in self._timers)

    def add(self, item: Item, delay: Delay, now: float) -> None:
        """Let an item wait; one that waits already starts anew."""
        self.discard(item)
        self._timers[delay].add(item, now)

    def discard(self, item: Item) -> None:
        """Let an item wait no more."""
        for timer in self._timers:
            timer.discard(item)

    def deadline(self) -> float | None:
        """:returns: when to call :meth:`due` next, or ``None`` while nobody waits."""
        return min((when for timer in self._timers if (when := timer.deadline()) is not None), default=None)

    def due(self, now: float) -> list[Item]:
        """Take out those whose turn has come."""
        return [item for timer in self._timers for item in timer.due(now)]

    def clear(self) -> list[Item]:
        """Take out everybody."""
        return self.due(float("inf"))
