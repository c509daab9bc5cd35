"""
Who a node is: its address, and the id that follows from it.

Inside the DHT an *address* is six bytes, as on the wire; host names and numbers are made at its edge only.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.interfaces import HostPort

ID_LENGTH = 32
ID_BITS = 8 * ID_LENGTH
#: Bytes of an address that are the host's.
HOST_LENGTH = 4


class Contact:
    """A node's address, and its id in the two forms that are needed all the time."""

    __slots__ = ("address", "id", "number")

    def __init__(self, address: bytes) -> None:
        """:param address: six bytes."""
        self.address = address
        #: 32 bytes: the hash of the address.
        self.id = hash32(address)
        #: The id as an integer, for distances.
        self.number = int.from_bytes(self.id, "big")

    def __repr__(self) -> str:
        return f"<Contact {host_port(self.address)}>"


@lru_cache(maxsize=1 << 16)
def contact_at(address: bytes) -> Contact:
    """
    The contact at an address: the same object for everybody who asks while it is in use somewhere.

    Hashing is most of what a reply with 20 nodes costs, and many parts keep the same nodes.
    """
    return Contact(address)


@lru_cache(maxsize=1 << 14)
def host_port(address: bytes) -> HostPort:
    """:returns: a six-byte address, for people."""
    return HostPort(".".join(map(str, address[:HOST_LENGTH])), int.from_bytes(address[HOST_LENGTH:], "little"))


@lru_cache(maxsize=1 << 14)
def address_of(host: str, port: int) -> bytes:
    """
    :param host: an IPv4 address; the DHT has no other.
    :param port: 0 to 65535.
    :returns: six bytes.
    :raises ValueError: one of them is not that.
    """
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{port} is not a port")
    try:
        return IPv4Address(host).packed + port.to_bytes(2, "little")
    except AddressValueError as problem:
        raise ValueError(f"{host!r} is not an IPv4 address") from problem


def distance_from(target: bytes) -> int:
    """:returns: an id as the integer that is XORed with a contact's ``number``."""
    return int.from_bytes(target, "big")


#: Nodes that the reference never talks to since they once did harm: all ports of a host, or one.
_SHUNNED_HOSTS = frozenset({address_of("150.136.142.116", 0)[:HOST_LENGTH]})
_SHUNNED = frozenset(
    address_of(host, port)
    for host, port in (("134.209.28.98", 49738), ("167.99.142.185", 49738), ("35.233.47.252", 9400))
)
_NO_PORT = b"\x00\x00"


def is_shunned(address: bytes) -> bool:
    """:returns: whether nobody asks this node, or tells of it; one with port 0 can't be asked."""
    if address[HOST_LENGTH:] == _NO_PORT:
        return True
    return address in _SHUNNED or address[:HOST_LENGTH] in _SHUNNED_HOSTS
