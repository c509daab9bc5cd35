"""
Compact encoding: the primitives that the DHT, the handshakes and the streams are made of.

Each has its grammar as a ``construct`` part; for what arrives per packet a hand-written reader stands beside it, and
the tests hold the two equal.  All integers are little endian.

:source: npm ``compact-encoding`` 3; spec/dht.md, section 1.
"""

from __future__ import annotations

from typing import Any

from construct import Bytes, Construct, Int8ul, Int16ul, Int32ul, Int64ul, Subconstruct, stream_read, stream_write

from spaceswarm_proxy.codec.varint import Refusal
from spaceswarm_proxy.errors import MessageError

#: The largest ``uint``: JavaScript's largest exact integer.
MAX_UINT = 2**53 - 1
#: Most items of an array.
MAX_ITEMS = 0x100000
#: Bytes of an IPv4 address with its port.
ADDRESS_LENGTH = 6


class Uint(Construct):
    """
    An unsigned integer of 1, 3, 5 or 9 bytes, 2^53 - 1 at most; a longer form than needed is taken too.

    Bytes::  n (up to fc)  |  fd nn nn  |  fe nn nn nn nn  |  ff nn nn nn nn nn nn nn nn
    """

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        first = stream_read(stream, 1, path)[0]
        if first < 0xFD:
            return first
        value = int.from_bytes(stream_read(stream, 2 << first - 0xFD, path), "little")
        if value > MAX_UINT:
            raise Refusal("uint-too-large", path)
        return value

    def _build(self, value: int, stream: Any, context: Any, path: str) -> int:
        data = encode_uint(value)
        stream_write(stream, data, len(data), path)
        return value


class Counted(Subconstruct):
    """
    An array: a ``uint`` count, then the items.

    :param smallest: bytes that an item has at least; a count that the input cannot hold is refused before anything is
        stored.
    """

    def __init__(self, subcon: Construct, smallest: int) -> None:
        super().__init__(subcon)
        self.smallest = smallest

    def _parse(self, stream: Any, context: Any, path: str) -> list[Any]:
        count = UINT._parsereport(stream, context, path)
        here = stream.tell()
        left = stream.seek(0, 2) - here
        stream.seek(here)
        if count > MAX_ITEMS or count * self.smallest > left:
            raise Refusal("array-too-long", path)
        return [self.subcon._parsereport(stream, context, path) for _ in range(count)]

    def _build(self, items: Any, stream: Any, context: Any, path: str) -> Any:
        UINT._build(len(items), stream, context, path)
        for item in items:
            self.subcon._build(item, stream, context, path)
        return items


class Buffer(Construct):
    """A ``uint`` length, then the bytes."""

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        return stream_read(stream, UINT._parsereport(stream, context, path), path)

    def _build(self, value: bytes, stream: Any, context: Any, path: str) -> bytes:
        data = encode_uint(len(value)) + value
        stream_write(stream, data, len(data), path)
        return value


class Text(Construct):
    """A ``uint`` length in bytes, then UTF-8; what is not UTF-8 is read as JavaScript reads it, with U+FFFD."""

    def _parse(self, stream: Any, context: Any, path: str) -> str:
        return BUFFER._parsereport(stream, context, path).decode("utf-8", "replace")

    def _build(self, value: str, stream: Any, context: Any, path: str) -> str:
        BUFFER._build(value.encode(), stream, context, path)
        return value


UINT = Uint()
UINT8, UINT16, UINT32, UINT64 = Int8ul, Int16ul, Int32ul, Int64ul
BUFFER = Buffer()
TEXT = Text()
FIXED32 = Bytes(32)
FIXED64 = Bytes(64)
#: ``ipv4Address``, as its six bytes: the host's in order, then the port's, low byte first.
ADDRESS = Bytes(ADDRESS_LENGTH)
ADDRESSES = Counted(ADDRESS, ADDRESS_LENGTH)


def encode_uint(value: int) -> bytes:
    """
    :returns: the shortest form, 1 to 9 bytes.
    :raises ValueError: negative, or above :data:`MAX_UINT`.
    """
    if 0 <= value < 0xFD:
        return value.to_bytes(1, "little")
    if not 0 <= value <= MAX_UINT:
        raise ValueError(f"{value} does not fit into a uint")
    if value < 1 << 16:
        return b"\xfd" + value.to_bytes(2, "little")
    if value < 1 << 32:
        return b"\xfe" + value.to_bytes(4, "little")
    return b"\xff" + value.to_bytes(8, "little")


def encode_buffer(value: bytes) -> bytes:
    """:returns: the length and the bytes."""
    return encode_uint(len(value)) + value


def read_uint(data: bytes, offset: int) -> tuple[int, int]:
    """
    Read a :class:`Uint`.

    :returns: ``(value, next_offset)``.
    :raises MessageError: cut short, or above :data:`MAX_UINT`.
    """
    if offset >= len(data):
        raise MessageError("cut")
    first = data[offset]
    if first < 0xFD:
        return first, offset + 1
    end = offset + 1 + (2 << first - 0xFD)
    if end > len(data):
        raise MessageError("cut")
    value = int.from_bytes(data[offset + 1 : end], "little")
    if value > MAX_UINT:
        raise MessageError("uint-too-large", str(value))
    return value, end


def read_fixed(data: bytes, offset: int, length: int) -> tuple[bytes, int]:
    """
    Read so many bytes.

    :returns: ``(bytes, next_offset)``.
    :raises MessageError: cut short.
    """
    end = offset + length
    if end > len(data):
        raise MessageError("cut")
    return data[offset:end], end


def read_buffer(data: bytes, offset: int) -> tuple[bytes, int]:
    """
    Read a :class:`Buffer`.

    :returns: ``(bytes, next_offset)``.
    :raises MessageError: cut short.
    """
    length, offset = read_uint(data, offset)
    return read_fixed(data, offset, length)


def read_addresses(data: bytes, offset: int, most: int) -> tuple[list[bytes], int]:
    """
    Read an array of addresses.

    :param most: how many are wanted; those after them are passed over.
    :returns: ``(addresses, next_offset)``.
    :raises MessageError: cut short, or longer than :data:`MAX_ITEMS`.
    """
    count, offset = read_uint(data, offset)
    end = offset + count * ADDRESS_LENGTH
    if count > MAX_ITEMS or end > len(data):
        raise MessageError("array-too-long" if count > MAX_ITEMS else "cut", str(count))
    kept = range(offset, offset + min(count, most) * ADDRESS_LENGTH, ADDRESS_LENGTH)
    return [data[start : start + ADDRESS_LENGTH] for start in kept], end
