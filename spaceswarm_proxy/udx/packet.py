"""
Packets: the layout of a datagram of a stream.

Bytes, all integers low byte first::

    ff 01 | flags:1 | data offset:1 | id:4 | window:4 | seq:4 | ack:4 | offset area | payload

``id`` is the number that the *receiver* gave the stream.  ``seq`` counts packets, not bytes: DATA and END have one
each, all other kinds carry the number that the next of those will get.  ``ack`` is the number that is expected next.
The offset area holds zeros (a packet that probes how much the path carries is padded so), or the ranges of a SACK.

The grammar says so; :func:`parse` reads the same by hand.

:source: npm ``udx-native`` 1.21; spec/udx.md, sections 2 and 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct as Layout
from typing import NamedTuple

from construct import Byte, Bytes, Const, GreedyBytes, Int32ul, Struct, this

DATA = 0x01
END = 0x02
SACK = 0x04
MESSAGE = 0x08
DESTROY = 0x10
HEARTBEAT = 0x20

HEADER_LENGTH = 20
#: Ranges that a packet tells of at most; the lowest matter most.
MAX_RANGES = 50
#: Bytes of the largest datagram that the reference does not cut.
MAX_DATAGRAM = 2048
#: Ranges that such a datagram holds.
_MAX_RANGES_READ = (MAX_DATAGRAM - HEADER_LENGTH) // 8
#: The data offset is one byte.
MAX_PADDING = 255
#: A sequence number, and all else that has four bytes.
MASK = 0xFFFFFFFF
_HALF = 0x80000000
_MAGIC = 0xFF
_VERSION = 1
#: What every packet begins with.
PREFIX = bytes([_MAGIC, _VERSION])

PACKET = Struct(
    "magic" / Const(_MAGIC, Byte),
    "version" / Const(_VERSION, Byte),
    "flags" / Byte,
    "data_offset" / Byte,
    "id" / Int32ul,
    "window" / Int32ul,
    "seq" / Int32ul,
    "ack" / Int32ul,
    "offset_area" / Bytes(this.data_offset),
    "payload" / GreedyBytes,
)

_HEADER = Layout("<BBBBIIII")
_RANGE = Layout("<II")
#: The first eight bytes as one number, the same in all packets of a stream with the same flags; window, seq, ack.
PLAIN = Layout("<QIII")


class Packet(NamedTuple):
    """A packet's fields; numbers are as on the wire."""

    flags: int
    id: int
    window: int
    seq: int
    ack: int
    #: Half-open ranges of what has arrived beyond ``ack``.
    ranges: tuple[tuple[int, int], ...]
    payload: bytes | memoryview


def parse(data: bytes | memoryview) -> Packet | None:
    """
    :param data: a datagram; the packet's payload is a slice of it.
    :returns: its packet; ``None`` where it is none, or one whose data offset leads beyond its end.
    """
    if len(data) < HEADER_LENGTH:
        return None
    magic, version, flags, offset, id, window, seq, ack = _HEADER.unpack_from(data)
    start = HEADER_LENGTH + offset
    if magic != _MAGIC or version != _VERSION or start > len(data):
        return None
    if not flags & SACK:
        return Packet(flags, id, window, seq, ack, (), data[start:])
    if offset:
        return Packet(flags, id, window, seq, ack, _ranges(data[HEADER_LENGTH:start]), data[start:])
    return Packet(flags, id, window, seq, ack, _ranges(data[HEADER_LENGTH:]), b"")


def _ranges(area: bytes | memoryview) -> tuple[tuple[int, int], ...]:
    """The pairs in it; an incomplete one is ignored, and what no datagram of the reference holds."""
    whole = min(len(area) // _RANGE.size, _MAX_RANGES_READ) * _RANGE.size
    return tuple(_RANGE.iter_unpack(area[:whole]))


def encode_header(flags: int, offset: int, id: int, window: int, seq: int, ack: int) -> bytes:
    """
    :param seq: of any size; so is ``ack``.
    :returns: a packet's first 20 bytes.
    """
    return _HEADER.pack(_MAGIC, _VERSION, flags, offset, id, window, seq & MASK, ack & MASK)


def encode_state(id: int, window: int, seq: int, ack: int, ranges: Iterable[tuple[int, int]] = ()) -> bytes:
    """:returns: the packet that says how far everything has arrived, and what beyond that."""
    area = b"".join([_RANGE.pack(start & MASK, end & MASK) for start, end in ranges])
    return encode_header(SACK if area else 0, 0, id, window, seq, ack) + area


def plain_key(flags: int, id: int) -> int:
    """:returns: the first number of :data:`PLAIN` in the packets of a stream with these flags and no offset area."""
    return int.from_bytes(encode_header(flags, 0, id, 0, 0, 0)[:8], "little")


def unwrap(number: int, near: int) -> int:
    """
    :param number: as on the wire, 32 bits.
    :returns: the number with these low 32 bits that is nearest to ``near``.
    """
    return near + ((number - near + _HALF) & MASK) - _HALF
