"""What time asks of an encrypted connection: to open, to hear something of the remote, and to say something itself."""

from __future__ import annotations

from enum import Enum


class Due(Enum):
    """What is due."""

    #: The time for the opening is over.
    OPENING = "opening"
    #: Nothing has come for too long.
    SILENCE = "silence"
    #: Nothing was written for so long that it is time for a keep-alive.
    KEEP_ALIVE = "keep-alive"


class Watch:
    """
    When something is due.

    :meth:`heard` and :meth:`wrote` only note the time: the deadline that they move is looked at when it comes.
    """

    __slots__ = ("_heard_at", "_keep_alive", "_open", "_opening_until", "_reading", "_timeout", "_writing", "_wrote_at")

    def __init__(self, now: float, opening: float, keep_alive: float, timeout: float) -> None:
        """
        :param opening: seconds until the connection must be open; 0 for ever.
        :param keep_alive: seconds without a write after which a keep-alive is due; 0 never.
        :param timeout: seconds without a byte after which the remote is given up; 0 never.
        """
        self._heard_at = self._wrote_at = now
        self._opening_until = now + opening if opening else None
        self._keep_alive = keep_alive
        self._timeout = timeout
        # Before the connection is open, nothing but that is due.
        self._open = False
        self._reading = self._writing = True

    def opened(self, now: float) -> None:
        """The connection is open."""
        self._open = True
        self._heard_at = now

    def heard(self, now: float) -> None:
        """Something has come."""
        self._heard_at = now

    def wrote(self, now: float) -> None:
        """Something was written."""
        self._wrote_at = now

    def reading(self, now: float) -> None:
        """The remote can be heard again, and has its full time to say something."""
        self._reading = True
        self._heard_at = now

    def not_reading(self) -> None:
        """The remote cannot be heard, and its silence is not its fault."""
        self._reading = False

    def done_writing(self) -> None:
        """Nothing will be written any more."""
        self._writing = False

    def set_keep_alive(self, seconds: float) -> None:
        """Change it; 0 is none."""
        self._keep_alive = seconds

    def set_timeout(self, seconds: float, now: float) -> None:
        """Change it; 0 is none.  What has been silence before now does not count."""
        self._timeout = seconds
        self._heard_at = now

    def next_deadline(self) -> float | None:
        """:returns: when to look again, or ``None``: not before something was changed."""
        return min((time for time, _ in self._deadlines()), default=None)

    def due(self, now: float) -> Due | None:
        """:returns: what is due now, the gravest if it is several things."""
        return next((due for time, due in self._deadlines() if time <= now), None)

    def _deadlines(self) -> list[tuple[float, Due]]:
        if not self._open:
            return [] if self._opening_until is None else [(self._opening_until, Due.OPENING)]
        deadlines = []
        if self._timeout and self._reading:
            deadlines.append((self._heard_at + self._timeout, Due.SILENCE))
        if self._keep_alive and self._writing:
            deadlines.append((self._wrote_at + self._keep_alive, Due.KEEP_ALIVE))
        return deadlines
