"""
Unsigned LEB128 integers ("varints") with a bound, and construct's errors by name.

In a grammar for what a remote sent, these take the place of construct's own: its ``VarInt`` reads without end, and
its ``GreedyRange`` takes an element that is damaged for the end of the range.
"""

from __future__ import annotations

from typing import Any

from construct import Construct, ExplicitError, StreamError, Subconstruct, stream_write

#: Most bytes that a varint may take unless told otherwise: 64 bits need 10.
VARINT_LIMIT = 10


class Refusal(ExplicitError):
    """What the grammar cannot take.  Of construct's errors only explicit ones get through a ``GreedyRange``."""

    def __init__(self, kind: str, path: str) -> None:
        super().__init__(kind, path)
        self.kind = kind


class Varint(Construct):
    """
    An unsigned LEB128 integer of at most ``limit`` bytes.  (construct's own ``VarInt`` has no limit.)

    Bytes::  1xxxxxxx* 0xxxxxxx   (least significant group first)
    """

    def __init__(self, limit: int = VARINT_LIMIT) -> None:
        super().__init__()
        self.limit = limit

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        value = 0
        for shift in range(0, 7 * self.limit, 7):
            byte = stream.read(1)
            if not byte:
                raise Refusal("varint-cut", path) if shift else StreamError("nothing left", path)
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
        raise Refusal("varint-too-long", path)

    def _build(self, value: int, stream: Any, context: Any, path: str) -> int:
        groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
        data = bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])
        stream_write(stream, data, len(data), path)
        return value


class Whole(Subconstruct):
    """Something that must be all there; construct would take the end of the input for the end of the range."""

    def __init__(self, kind: str, subcon: Construct) -> None:
        super().__init__(subcon)
        self.kind = kind

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        try:
            return self.subcon._parsereport(stream, context, path)
        except StreamError as problem:
            raise Refusal(self.kind, path) from problem


_SINGLE = [bytes([value]) for value in range(0x80)]


def encode_varint(value: int) -> bytes:
    """
    :param value: unsigned, at most 70 bits.
    :returns: its shortest form, 1 to 10 bytes.
    :raises ValueError: it is out of range.
    """
    if 0 <= value < 0x80:
        return _SINGLE[value]
    if value < 0 or value >> 7 * VARINT_LIMIT:
        raise ValueError(f"{value} does not fit into a varint")
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
