"""
What the two messages of a handshake carry: how the stream is to be made, and where the other side can be reached.

Both are encrypted, and read with their grammar.  What is too much is cut off: whoever sends hundreds of addresses gains
nothing by it.

:source: npm ``hyperdht`` 6; spec/connect.md, section 4.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from construct import Bytes, If, Struct, this

from spaceswarm_proxy.codec.compact import (
    ADDRESS,
    ADDRESS_LENGTH,
    ADDRESSES,
    FIXED32,
    UINT,
    Counted,
    encode_uint,
)
from spaceswarm_proxy.dht.values import parse_value
from spaceswarm_proxy.errors import MessageError

#: Of the payload, and of the parts that have one of their own.
VERSION = 1
#: Bytes of an IPv6 address with its port.
ADDRESS6_LENGTH = 18
#: Addresses, and pairs of addresses, that are read of each list.
MAX_ADDRESSES = 32
MAX_RELAYS = 8

HAS_HOLEPUNCH = 1
HAS_ADDRESSES4 = 2
HAS_ADDRESSES6 = 4
HAS_UDX = 8
HAS_SECRET_STREAM = 16
HAS_RELAY_THROUGH = 32
HAS_RELAY_ADDRESSES = 64
#: A feature of the UDX stream.
REUSABLE_SOCKET = 1

_PAIR = Struct("relay_address" / ADDRESS, "peer_address" / ADDRESS)
_HOLEPUNCH = Struct("id" / UINT, "relays" / Counted(_PAIR, 2 * ADDRESS_LENGTH))
_UDX = Struct("version" / UINT, "features" / UINT, "id" / UINT, "seq" / UINT)
_RELAY_THROUGH = Struct("version" / UINT, "flags" / UINT, "public_key" / FIXED32, "token" / FIXED32)

_FIELDS = Struct(
    "flags" / UINT,
    "error" / UINT,
    "firewall" / UINT,
    "holepunch" / If(this.flags & HAS_HOLEPUNCH, _HOLEPUNCH),
    "addresses4" / If(this.flags & HAS_ADDRESSES4, ADDRESSES),
    "addresses6" / If(this.flags & HAS_ADDRESSES6, Counted(Bytes(ADDRESS6_LENGTH), ADDRESS6_LENGTH)),
    "udx" / If(this.flags & HAS_UDX, _UDX),
    "secret_stream" / If(this.flags & HAS_SECRET_STREAM, UINT),
    "relay_through" / If(this.flags & HAS_RELAY_THROUGH, _RELAY_THROUGH),
    "relay_addresses" / If(this.flags & HAS_RELAY_ADDRESSES, ADDRESSES),
)

#: Of another version nothing more is read.
NOISE_PAYLOAD = Struct("version" / UINT, "fields" / If(this.version == VERSION, _FIELDS))


class Firewall(IntEnum):
    """What is between a side and the network, as far as it knows."""

    UNKNOWN = 0
    #: Anybody can reach it.
    OPEN = 1
    #: Its address is the same for everybody, and whoever it has sent to can reach it there.
    CONSISTENT = 2
    #: Its port is another one for every destination.
    RANDOM = 3

    @classmethod
    def of(cls, value: int) -> Firewall:
        """:returns: what a number on the wire means; everything from 3 on is :attr:`RANDOM`."""
        return cls(min(value, cls.RANDOM))


class HandshakeCode(IntEnum):
    """What may be wrong, in handshakes and in hole punching."""

    NONE = 0
    ABORTED = 1
    VERSION_MISMATCH = 2
    TRY_LATER = 3


class RelayPair(NamedTuple):
    """A node that a server has announced itself to."""

    relay_address: bytes
    #: The server, as that node sees it.
    peer_address: bytes


class HolepunchInfo(NamedTuple):
    """How a server is reached with messages of hole punching."""

    #: Which of the server's handshakes this is.
    id: int
    relays: tuple[RelayPair, ...] = ()

    def _encode(self) -> bytes:
        pairs = b"".join(relay_address + peer_address for relay_address, peer_address in self.relays)
        return encode_uint(self.id) + encode_uint(len(self.relays)) + pairs


class UDXInfo(NamedTuple):
    """The sender's end of the UDX stream."""

    #: What packets to it carry: 32 bits.
    id: int
    #: May the stream's socket serve later streams, too?
    reusable_socket: bool = False
    seq: int = 0
    version: int = VERSION

    def _encode(self) -> bytes:
        features = REUSABLE_SOCKET if self.reusable_socket else 0
        return b"".join(map(encode_uint, (self.version, features, self.id, self.seq)))


class RelayThrough(NamedTuple):
    """A relay that the sender wants to meet at."""

    public_key: bytes
    #: What the two ends are known by there: 32 bytes.
    token: bytes
    version: int = VERSION
    flags: int = 0

    def _encode(self) -> bytes:
        return encode_uint(self.version) + encode_uint(self.flags) + self.public_key + self.token


class NoisePayload(NamedTuple):
    """The payload of a message; a server sends ``holepunch`` and ``relay_addresses``, a client does not."""

    version: int = VERSION
    #: A :class:`HandshakeCode`, or a number that is none.
    error: int = HandshakeCode.NONE
    firewall: Firewall = Firewall.UNKNOWN
    holepunch: HolepunchInfo | None = None
    #: The sender's own, from outside and in its local network: six bytes each.
    addresses4: tuple[bytes, ...] = ()
    #: 18 bytes each.
    addresses6: tuple[bytes, ...] = ()
    udx: UDXInfo | None = None
    #: The version of the encrypted stream.
    secret_stream: int | None = None
    relay_through: RelayThrough | None = None
    #: Nodes that know the way to the sender; not said is not the same as none.
    relay_addresses: tuple[bytes, ...] | None = None

    @classmethod
    def parse(cls, data: bytes) -> NoisePayload:
        """
        :returns: it; only its version, if that is not ours.
        :raises MessageError: it is none.
        """
        whole = parse_value(NOISE_PAYLOAD, data)
        fields = whole.fields
        if fields is None:
            return cls(whole.version)
        return cls(
            whole.version,
            fields.error,
            Firewall.of(fields.firewall),
            _holepunch_info(fields.holepunch),
            tuple((fields.addresses4 or ())[:MAX_ADDRESSES]),
            tuple((fields.addresses6 or ())[:MAX_ADDRESSES]),
            _udx_info(fields.udx),
            fields.secret_stream,
            _relay_through(fields.relay_through),
            None if fields.relay_addresses is None else tuple(fields.relay_addresses[:MAX_RELAYS]),
        )

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        if self.version != VERSION:
            return encode_uint(self.version)
        parts = self._parts()
        flags = sum(flag for flag, part in parts if part is not None)
        head = b"".join(map(encode_uint, (self.version, flags, self.error, self.firewall)))
        return head + b"".join(part for _, part in parts if part is not None)

    def _parts(self) -> tuple[tuple[int, bytes | None], ...]:
        """:returns: flags, and the parts that they stand for where there is one, in their order."""
        return (
            (HAS_HOLEPUNCH, self.holepunch and self.holepunch._encode()),
            (HAS_ADDRESSES4, _addresses(self.addresses4) if self.addresses4 else None),
            (HAS_ADDRESSES6, _addresses(self.addresses6) if self.addresses6 else None),
            (HAS_UDX, self.udx and self.udx._encode()),
            (HAS_SECRET_STREAM, None if self.secret_stream is None else encode_uint(self.secret_stream)),
            (HAS_RELAY_THROUGH, self.relay_through and self.relay_through._encode()),
            (HAS_RELAY_ADDRESSES, None if self.relay_addresses is None else _addresses(self.relay_addresses)),
        )


def _addresses(addresses: tuple[bytes, ...]) -> bytes:
    return encode_uint(len(addresses)) + b"".join(addresses)


def _holepunch_info(fields: Any) -> HolepunchInfo | None:
    if fields is None:
        return None
    pairs = (RelayPair(pair.relay_address, pair.peer_address) for pair in fields.relays[:MAX_RELAYS])
    return HolepunchInfo(fields.id, tuple(pairs))


def _udx_info(fields: Any) -> UDXInfo | None:
    if fields is None:
        return None
    if fields.id >> 32 or fields.seq >> 32:
        raise MessageError("bad-value", "a stream's id or sequence number has more than 32 bits")
    return UDXInfo(fields.id, bool(fields.features & REUSABLE_SOCKET), fields.seq, fields.version)


def _relay_through(fields: Any) -> RelayThrough | None:
    if fields is None:
        return None
    return RelayThrough(fields.public_key, fields.token, fields.version, fields.flags)
