"""
What is to be done when, for everything in this room: one heap of functions, and the time comes from outside.

A connection needs a dozen delays, most of which never come to their end; each is one entry here, and whoever runs the
room has a single deadline to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

#: Called with the time, in seconds.
Due = Callable[[float], None]


class Delayed:
    """Something that is to be done at a certain time."""

    __slots__ = ("function", "when")

    def __init__(self, when: float, function: Due) -> None:
        self.when = when
        #: What is to be done; ``None`` when it was, or is not to be any more.
        self.function: Due | None = function

    def cancel(self) -> None:
        """Do not do it; harmless when it has been done."""
        self.function = None


class Schedule:
    """All that is to be done later."""

    def __init__(self) -> None:
        # (when, number, what); the number keeps the order of what is due at the same time.
        self._heap: list[tuple[float, int, Delayed]] = []
        self._number = 0

    def __len__(self) -> int:
        """:returns: how many are still to be done."""
        return sum(delayed.function is not None for _, _, delayed in self._heap)

    def call_at(self, when: float, function: Due) -> Delayed:
        """
        :param when: seconds, on the same clock as :meth:`advance`.
        :param function: called with the time that it then is.
        :returns: what cancels it.
        """
        delayed = Delayed(when, function)
        self._number += 1
        heappush(self._heap, (when, self._number, delayed))
        return delayed

    def next_deadline(self) -> float | None:
        """:returns: when :meth:`advance` has something to do, in seconds."""
        heap = self._heap
        while heap and heap[0][2].function is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def advance(self, now: float) -> None:
        """Do what is due, in order; what that itself puts off until now comes at the next call."""
        heap, last = self._heap, self._number
        later = []
        while heap and heap[0][0] <= now:
            entry = heappop(heap)
            if entry[1] > last:
                later.append(entry)
                continue
            function, entry[2].function = entry[2].function, None
            if function is not None:
                function(now)
        for entry in later:
            heappush(heap, entry)
