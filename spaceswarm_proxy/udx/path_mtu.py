"""
How large packets may be: found out by sending padded ones (RFC 8899), never by asking.

Sizes are as the reference counts them: with the headers of IP, UDP and the stream.  A probe is an ordinary packet with
zeros in front of its payload: when it is lost, only the zeros are not repeated.

:source: RFC 8899; spec/udx.md, section 10.
"""

from __future__ import annotations

from spaceswarm_proxy.udx.packet import HEADER_LENGTH, MAX_PADDING

#: What every path carries, and the most that is tried.
BASE = 1200
LIMIT = 1500
#: Bytes of the headers of IPv4, UDP and the stream.
HEADERS = 28 + HEADER_LENGTH
#: Probes of a size that may be lost before it is taken to be too large.
MAX_LOST = 3
#: The search ends when the next size would not be this much larger.
_STEP = 32


class PathMTU:
    """The search of one path."""

    __slots__ = ("_lost", "_probing", "_too_large", "payload", "size")

    def __init__(self) -> None:
        #: The largest that is known to arrive.
        self.size = BASE
        #: Bytes that a packet carries.
        self.payload = BASE - HEADERS
        # The smallest size that failed, what is on the way, and how often that was lost.
        self._too_large = LIMIT + 1
        self._probing = 0
        self._lost = 0

    def padding(self, length: int) -> int:
        """
        :param length: bytes of the payload of a packet that could be a probe.
        :returns: zeros to put in front of it; 0 when there is nothing to be tried now.
        """
        if self._probing:
            return 0
        size = self._next_size()
        padding = size - HEADERS - length
        if size == self.size or not 0 < padding <= MAX_PADDING:
            return 0
        self._probing = size
        return padding

    def _next_size(self) -> int:
        highest = min(self._too_large - 1, self.size + MAX_PADDING - 3)
        if self._too_large > LIMIT:
            return min(LIMIT, highest)
        middle = (self.size + self._too_large) // 2
        return min(middle, highest) if middle - self.size >= _STEP // 2 else self.size

    def arrived(self) -> None:
        """The probe has arrived: the path carries its size."""
        if self._probing:
            self.size, self._probing, self._lost = self._probing, 0, 0
            self.payload = self.size - HEADERS

    def lost(self) -> None:
        """The probe was lost, or it is not waited for any more."""
        if self._probing:
            self._lost += 1
            if self._lost >= MAX_LOST:
                self._too_large, self._lost = self._probing, 0
            self._probing = 0

    def withdrawn(self) -> None:
        """The probe did not leave."""
        self._probing = 0

    def restart(self) -> None:
        """The path is another one."""
        self.size = BASE
        self.payload = BASE - HEADERS
        self._too_large = LIMIT + 1
        self._probing = self._lost = 0
