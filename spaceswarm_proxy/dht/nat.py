"""
What our address looks like from outside, from what others say that it is.

:source: npm ``nat-sampler``; spec/dht.md, section 11.4.
"""

from __future__ import annotations

from spaceswarm_proxy.dht.contact import HOST_LENGTH

_RING = 32
#: How far a look back goes, in samples.
_LOOK_BACK = 4
_NO_PORT = b"\x00\x00"
#: Samples that may disagree, by how many there are.
_TOLERANCE = ((4, 0), (8, 1), (12, 2))
_MOST_TOLERANCE = 3


class _Seen:
    """One answer to where we are, and how often it is in the ring."""

    __slots__ = ("address", "hits")

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.hits = 0


class NatSampler:
    """Of the last 16 samples: the address on which enough of them agree, or at least the host."""

    __slots__ = ("_address", "_any_port", "_position", "_ring", "_threshold", "samples", "value")

    def __init__(self) -> None:
        #: Six bytes: our address; port 0 when only the host is agreed on; ``None`` while nothing is.
        self.value: bytes | None = None
        #: How many there have been.
        self.samples = 0
        # Entries in pairs: an address, then the same host with any port.
        self._ring: list[_Seen] = []
        self._position = 0
        self._threshold = 0
        self._address: _Seen | None = None
        self._any_port: _Seen | None = None

    def add(self, address: bytes) -> int:
        """
        Somebody sees us there.

        :param address: six bytes.
        :returns: how many samples at hand say the same.
        """
        self.samples += 1
        exact = self._find(address, 2)
        any_port = self._find(address[:HOST_LENGTH] + _NO_PORT, 1)
        self._append(exact, any_port)
        if self._address is None or exact.hits > self._address.hits:
            self._address = exact
        if self._any_port is None or any_port.hits > self._any_port.hits:
            self._any_port = any_port
        self.value = self._agreed()
        return exact.hits

    def _find(self, address: bytes, first: int) -> _Seen:
        for back in range(first, first + 2 * _LOOK_BACK, 2):
            place = (self._position - back) % _RING
            if place >= len(self._ring):
                break
            if self._ring[place].address == address:
                return self._ring[place]
        return _Seen(address)

    def _append(self, exact: _Seen, any_port: _Seen) -> None:
        exact.hits += 1
        any_port.hits += 1
        if len(self._ring) < _RING:
            self._ring += [exact, any_port]
            size = len(self._ring) // 2
            tolerance = next((few for below, few in _TOLERANCE if size < below), _MOST_TOLERANCE)
            self._threshold = size - tolerance
        else:
            self._position %= _RING
            for offset, seen in enumerate((exact, any_port), self._position):
                self._ring[offset].hits -= 1
                self._ring[offset] = seen
        self._position += 2

    def _agreed(self) -> bytes | None:
        for seen in (self._address, self._any_port):
            if seen is not None and seen.hits >= self._threshold:
                return seen.address
        return None
