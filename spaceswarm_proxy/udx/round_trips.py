"""
How long a round trip takes, and so how long to wait for an answer.

:source: RFC 6298 and 8985; spec/udx.md, section 8.
"""

from __future__ import annotations

from math import inf

#: Seconds that a retransmission waits at least and at most.
MIN_TIMEOUT = 1.0
MAX_TIMEOUT = 30.0
#: Seconds for which the shortest round trip is remembered.
WINDOW = 300.0
#: A sample above both this and the usual by far says that the machine slept.
_SLEPT = 5.0


class RoundTrips:
    """Samples go in, estimates come out; all in seconds."""

    __slots__ = ("_minima", "deviation", "smoothed", "timeout")

    def __init__(self) -> None:
        #: ``None`` before the first sample.
        self.smoothed: float | None = None
        self.deviation = 0.0
        #: How long a retransmission waits.
        self.timeout = MIN_TIMEOUT
        # The shortest of the window first: (time, round trip), both ascending.
        self._minima: list[tuple[float, float]] | None = None

    @property
    def shortest(self) -> float:
        """The shortest of late; infinite before the first sample."""
        return self._minima[0][1] if self._minima else inf

    def add(self, sample: float, now: float) -> None:
        """:param sample: how long a packet that was sent only once took to be acknowledged."""
        if self.smoothed is None:
            self.smoothed, self.deviation = sample, sample / 2
        else:
            usual = self.smoothed + 5 * self.deviation
            if sample > _SLEPT and sample > usual:
                sample = min(usual, MAX_TIMEOUT)
            self.deviation += (abs(self.smoothed - sample) - self.deviation) / 4
            self.smoothed += (sample - self.smoothed) / 8
        self.timeout = min(max(self.smoothed + 4 * self.deviation, MIN_TIMEOUT), MAX_TIMEOUT)
        self._note_minimum(sample, now)

    def _note_minimum(self, sample: float, now: float) -> None:
        if self._minima is None:
            self._minima = []
        minima = self._minima
        while minima and minima[-1][1] >= sample:
            minima.pop()
        # A new minimum soon after one that is hardly longer says nothing: so the queue stays short.
        if not minima or now - minima[-1][0] > WINDOW / 16:
            minima.append((now, sample))
        while now - minima[0][0] > WINDOW:
            del minima[0]
