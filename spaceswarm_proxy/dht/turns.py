"""What happens every so often, without a timer: whoever looks is told how often it should have happened."""

from __future__ import annotations


class Turns:
    """Turns of equal length, one after the other."""

    __slots__ = ("due", "period")

    def __init__(self, period: float, now: float) -> None:
        """:param period: seconds."""
        self.period = period
        #: When the turn ends that is under way.
        self.due = now + period

    def ended(self, now: float) -> int:
        """:returns: how many have ended since the last call; the next one ends on schedule, however late it is."""
        if now < self.due:
            return 0
        ended = int((now - self.due) // self.period) + 1
        self.due += ended * self.period
        return ended

    def restart(self, now: float) -> None:
        """A turn begins now."""
        self.due = now + self.period
