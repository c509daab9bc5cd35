"""Addresses as the kernel has them, as the house has them, and as Python's sockets want them."""

from __future__ import annotations

import socket
from functools import lru_cache

#: Addresses that are remembered.
_CACHED = 1 << 14
_HOST_LENGTH = 4


class AddressCache:
    """Six bytes of an address from the six of a ``struct sockaddr_in``: there the port is first, high byte first."""

    def __init__(self) -> None:
        self._addresses: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def address(self, raw: bytes) -> bytes:
        """
        :param raw: port and host.
        :returns: host and port; the same object for the same address while it is in use.
        """
        known = self._addresses.get(raw)
        if known is None:
            if len(self._addresses) >= _CACHED:
                self._addresses.clear()
            known = self._addresses[raw] = raw[2:] + raw[1::-1]
        return known


@lru_cache(maxsize=_CACHED)
def packed(source: tuple[str, int]) -> bytes:
    """:returns: host and port in six bytes."""
    return socket.inet_aton(source[0]) + source[1].to_bytes(2, "little")


@lru_cache(maxsize=_CACHED)
def unpacked(address: bytes) -> tuple[str, int]:
    """:returns: a six-byte address as Python's sockets want it."""
    return socket.inet_ntoa(address[:_HOST_LENGTH]), int.from_bytes(address[_HOST_LENGTH:], "little")
