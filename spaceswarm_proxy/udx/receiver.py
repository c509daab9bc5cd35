"""
The receiving half of a stream: puts packets in order, says what is missing, and how much more there may come.

Numbers here are whole: they do not wrap at 32 bits.

What is kept is bounded, whatever the remote sends: in order, what the user has not consumed, ``limit`` and
:data:`OVERRUN` bytes; out of order, ``limit`` bytes, and :data:`MAX_AHEAD` packets, which add to the former when
what is missing there comes.  What is beyond is dropped unacknowledged, so that an honest remote sends it again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice

from spaceswarm_proxy.udx.packet import MAX_DATAGRAM, MAX_RANGES

#: Packets beyond the one that is expected, of which the farthest is kept.  The reference's window holds 3,640.
MAX_AHEAD = 16384
#: Bytes that are taken beyond the window: a packet that was sent into what was left of it, and probes.
OVERRUN = 4 * MAX_DATAGRAM


class Receiver:
    """One direction, as its receiver sees it."""

    __slots__ = ("_ends", "_kept", "_kept_bytes", "_starts", "end", "expected", "limit", "unread")

    def __init__(self, first: int, limit: int) -> None:
        """
        :param first: the number of the first packet.
        :param limit: bytes that are held for a user who does not read.
        """
        #: The number that comes next.
        self.expected = first
        self.limit = limit
        #: Bytes that were given out and not consumed yet.
        self.unread = 0
        #: The number of the last packet, once it is known.
        self.end: int | None = None
        # What came too early, by number; and the same as half-open ranges.  Made when needed.
        self._kept: dict[int, bytes] | None = None
        self._kept_bytes = 0
        self._starts: list[int] = []
        self._ends: list[int] = []

    @property
    def window(self) -> int:
        """Bytes that the remote may have under way."""
        return max(self.limit - self.unread, 0)

    @property
    def ended(self) -> bool:
        """Has everything arrived, the end too?"""
        return self.end is not None and self.expected > self.end

    @property
    def has_gaps(self) -> bool:
        """Is something missing before something that is there?"""
        return bool(self._starts)

    def ranges(self) -> list[tuple[int, int]]:
        """:returns: what came early, half-open, the lowest first; no more than a packet tells of."""
        return list(islice(zip(self._starts, self._ends, strict=True), MAX_RANGES))

    def receive_next(self, payloads: Sequence[bytes | memoryview]) -> list[bytes]:
        """
        The packets that were expected have come, one after the other; none of them ends the stream.

        :param payloads: one for each; they are copied.
        :returns: what can be given out.
        """
        room = self.limit + OVERRUN - self.unread
        data = b"".join(payloads)
        after = self.expected + len(payloads)
        if len(data) > room or self.end is not None or (self._starts and self._starts[0] < after):
            return self._receive_each(payloads)
        self.expected = after
        self.unread += len(data)
        given = [data] if data else []
        if self._starts:
            self._take_kept(given)
        return given

    def _receive_each(self, payloads: Sequence[bytes | memoryview]) -> list[bytes]:
        given: list[bytes] = []
        for number, payload in enumerate(payloads, self.expected):
            given += self.receive(number, payload, False)
        return given

    def receive(self, seq: int, payload: bytes | memoryview, end: bool) -> list[bytes]:
        """
        A packet has come.

        :param payload: copied; empty in a packet that only ends the stream.
        :param end: is it the last one?
        :returns: what can be given out.
        """
        given: list[bytes] = []
        if not self._is_wanted(seq, len(payload), end):
            return given
        if end:
            self.end = seq
        if seq == self.expected:
            self._give(given, bytes(payload))
            self._take_kept(given)
        else:
            self._keep(seq, bytes(payload))
        return given

    def _is_wanted(self, seq: int, length: int, end: bool) -> bool:
        if seq < self.expected or seq > self.expected + MAX_AHEAD:
            return False
        if self.end is not None and (seq > self.end or (end and seq != self.end)):
            return False
        if end and self._ends and self._ends[-1] > seq + 1:
            return False  # A last packet before others that are there: a lie.
        if seq == self.expected:
            return self.unread + length <= self.limit + OVERRUN
        return self._kept_bytes + length <= self.limit and not (self._kept and seq in self._kept)

    def _give(self, given: list[bytes], payload: bytes) -> None:
        self.expected += 1
        if payload:
            self.unread += len(payload)
            given.append(payload)

    def _keep(self, seq: int, payload: bytes) -> None:
        if self._kept is None:
            self._kept = {}
        self._kept[seq] = payload
        self._kept_bytes += len(payload)
        starts, ends = self._starts, self._ends
        place = bisect_right(starts, seq)
        joins_before = place > 0 and ends[place - 1] == seq
        joins_after = place < len(starts) and starts[place] == seq + 1
        if joins_before and joins_after:
            ends[place - 1] = ends.pop(place)
            del starts[place]
        elif joins_before:
            ends[place - 1] = seq + 1
        elif joins_after:
            starts[place] = seq
        else:
            starts.insert(place, seq)
            ends.insert(place, seq + 1)

    def _take_kept(self, given: list[bytes]) -> None:
        """Give out what is not early any more."""
        if not self._starts or self._starts[0] != self.expected:
            return
        assert self._kept is not None
        del self._starts[0]
        for seq in range(self.expected, self._ends.pop(0)):
            payload = self._kept.pop(seq)
            self._kept_bytes -= len(payload)
            self._give(given, payload)
        if not self._kept:
            self._kept = None

    def forget(self) -> None:
        """Nothing is given out any more."""
        self._kept = None
        self._kept_bytes = 0
        self._starts, self._ends = [], []
