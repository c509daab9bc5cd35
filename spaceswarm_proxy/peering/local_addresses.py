"""
Which addresses are worth trying from here: those of local networks, and those that lead nowhere.

:source: npm ``bogon`` and ``hyperdht`` 6; spec/connect.md, sections 6.1 and 6.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network

from spaceswarm_proxy.dht.contact import HOST_LENGTH

#: A network: what an address in it has under a mask.
_Network = tuple[int, int]


def _networks(*texts: str) -> tuple[_Network, ...]:
    networks = map(IPv4Network, texts)
    return tuple((int(network.netmask), int(network.network_address)) for network in networks)


_PRIVATE = _networks("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
_RESERVED = _networks(
    "0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip


def is_private(address: bytes) -> bool:
    """:returns: whether it is one of a local network, or of the machine itself."""
    return _is_in(_PRIVATE, address)


def is_reserved(address: bytes) -> bool:
    """:returns: whether nobody can have it."""
    return _is_in(_RESERVED, address)


def is_bogon(address: bytes) -> bool:
    """:returns: whether it means nothing on the Internet."""
    return is_private(address) or is_reserved(address)


def _is_in(networks: Iterable[_Network], address: bytes) -> bool:
    host = int.from_bytes(address[:HOST_LENGTH], "big")
    return any(host & mask == network for mask, network in networks)


def nearest(own: Iterable[bytes], others: Sequence[bytes]) -> bytes | None:
    """
    The likeliest to be in the same local network as we are.

    :param own: our addresses.
    :param others: somebody else's, six bytes each.
    :returns: one of those; ``None`` where not even the first byte is that of one of ours.
    """
    best, shared = None, 0
    for mine in own:
        for other in others:
            common = _common(mine, other)
            if common == HOST_LENGTH - 1:
                return other
            if common > shared:
                best, shared = other, common
    return best


def _common(one: bytes, other: bytes) -> int:
    """:returns: how many of the first three bytes two addresses share, from the left."""
    for place in range(HOST_LENGTH - 1):
        if one[place] != other[place]:
            return place
    return HOST_LENGTH - 1
