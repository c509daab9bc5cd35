"""
How streams have ended: remembered for some seconds, as a remote may not have heard our last word.

The reference does not do so: there, an end that repeats its last packet into the void waits for its own time-out.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

#: Seconds for which it is remembered, and of how many streams.
NOTE_TIME = 10.0
MAX_NOTES = 4096


class Note(NamedTuple):
    """How one stream has ended."""

    #: What its remote is sent when it asks; over this socket, to this address.
    answer: bytes
    socket: int
    address: bytes
    until: float


class Notes:
    """Those of all streams, by their number."""

    def __init__(self) -> None:
        # The oldest first.
        self._notes: OrderedDict[int, Note] = OrderedDict()

    def __len__(self) -> int:
        return len(self._notes)

    def __contains__(self, id: int) -> bool:
        return id in self._notes

    def add(self, id: int, answer: bytes, socket: int, address: bytes, now: float) -> None:
        """A stream has ended."""
        self._notes[id] = Note(answer, socket, address, now + NOTE_TIME)
        self._notes.move_to_end(id)
        while len(self._notes) > MAX_NOTES or next(iter(self._notes.values())).until < now:
            self._notes.popitem(last=False)

    def find(self, id: int, now: float) -> Note | None:
        """:returns: what is remembered of a stream, if it is not too long ago."""
        note = self._notes.get(id)
        return None if note is None or note.until < now else note

    def clear(self) -> None:
        """Forget all."""
        self._notes.clear()
