"""
What the two ends of a link say to each other: the body of a frame (``docs/protocol.md``, section 2).

The layout is written once, as a grammar (:data:`SWARM_EVENT`).  It is the reference, and too slow for a link: beside
it stand :func:`encode_body` and :func:`decode_body`, by hand, which the tests hold equal to it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from construct import (
    Adapter,
    Bytes,
    Construct,
    ExprAdapter,
    GreedyBytes,
    GreedyRange,
    Prefixed,
    Struct,
    Switch,
    this,
)

from spaceswarm_proxy.codec.varint import VARINT_LIMIT, Refusal, Varint, Whole, encode_varint
from spaceswarm_proxy.errors import EventError, SpaceswarmError, from_code, to_code
from spaceswarm_proxy.interfaces import TOPIC_LENGTH

#: Bytes that are looked at of a text which says what went wrong.
MAX_TEXT = 1024


class EventType(enum.IntEnum):
    """What an event is.  The numbers are the wire's; other numbers are skipped by whoever receives them."""

    READY = 1
    JOIN = 2
    LEAVE = 3
    ON_STREAM_OPEN = 4
    ON_STREAM_CLOSE = 5
    ON_STREAM_DATA = 6
    ON_STREAM_ERROR = 7
    ON_PEER = 8
    CONNECT = 9
    ON_UPDATED = 10
    REPLY = 16
    WINDOW = 17
    PING = 18
    PONG = 19
    LISTEN = 20
    UNLISTEN = 21
    IDENTIFY = 22
    SEAL = 23
    UNSEAL = 24
    DROP = 25
    SIGN = 26
    ANSWER = 27
    FAREWELL = 28


@dataclass(slots=True)
class Event:
    """One event.  ``None`` is a field that is not there; for a missing ``stream``, users take 0."""

    #: An :class:`EventType`, or any other unsigned number.
    type: int
    topic: bytes | None = None
    data: bytes | None = None
    #: A peer's id, UTF-8 by convention; compared byte for byte, so never decoded here.
    peer: bytes | None = None
    #: int32.
    stream: int | None = None
    #: This and the other numbers below are unsigned; as a remote may send up to 70 bits, users bound them.
    features: int | None = None
    request: int | None = None
    code: str | None = None
    roles: int | None = None
    window: int | None = None
    key: bytes | None = None
    token: bytes | None = None
    handshake: int | None = None
    profile: str | None = None


def tell_problem(event: Event, problem: BaseException) -> Event:
    """:returns: a REPLY or ANSWER that now says what went wrong."""
    event.code, text = to_code(problem)
    event.data = text.encode()
    return event


def told_problem(event: Event) -> SpaceswarmError | None:
    """:returns: what a REPLY or ANSWER says went wrong; ``None``: nothing did."""
    if not event.code:
        return None
    return from_code(event.code, (event.data or b"")[:MAX_TEXT].decode("utf-8", "replace"))


def check_semantics(event: Event) -> None:
    """
    Refuse an event that is well-formed but says nothing that can be meant.

    :raises EventError: ``no-topic``, ``bad-topic`` (JOIN and LEAVE), ``no-error-data`` (ON_STREAM_ERROR).
    """
    if event.type in (EventType.JOIN, EventType.LEAVE):
        if event.topic is None:
            raise EventError("no-topic", EventType(event.type).name)
        if len(event.topic) != TOPIC_LENGTH:
            raise EventError("bad-topic", f"{len(event.topic)} bytes in {EventType(event.type).name}")
    elif event.type == EventType.ON_STREAM_ERROR and event.data is None:
        raise EventError("no-error-data", f"stream {event.stream or 0}")


# The grammar.


class _Key(Adapter):
    """A field's number and wire type, ``number << 3 | wire``, as a pair."""

    def _decode(self, key: int, context: Any, path: str) -> tuple[int, int]:
        number, wire = key >> 3, key & 7
        if not number:
            raise Refusal("field-number-zero", path)
        if FIELDS.get(number, ("", wire))[1] != wire:
            raise Refusal("wrong-wire-type", path)
        if wire not in WIRE_TYPES:
            raise Refusal("group" if wire in (3, 4) else "bad-wire-type", path)
        return number, wire

    def _encode(self, pair: tuple[int, int], context: Any, path: str) -> int:
        return pair[0] << 3 | pair[1]


class _Message(Adapter):
    """A range of fields as an :class:`Event`; of a repeated one the last counts, unknown ones are left out."""

    def _decode(self, fields: Any, context: Any, path: str) -> Event:
        known = {FIELDS[field.key[0]][0]: field.value for field in fields if field.key[0] in FIELDS}
        if "type" not in known:
            raise Refusal("no-type", path)
        return Event(**known)

    def _encode(self, event: Event, context: Any, path: str) -> list[dict[str, Any]]:
        values = [(number, wire, getattr(event, name)) for number, (name, wire, _) in FIELDS.items()]
        return [{"key": (number, wire), "value": value} for number, wire, value in values if value is not None]


_NUMBER = Whole("varint-cut", Varint())
_INT32 = ExprAdapter(
    _NUMBER,
    lambda value, _: ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000,
    lambda value, _: value & 0xFFFFFFFF,
)
_BLOB = Whole("field-overruns", Prefixed(_NUMBER, GreedyBytes))
_TEXT = ExprAdapter(_BLOB, lambda value, _: value.decode("utf-8", "replace"), lambda value, _: value.encode())

#: What can stand after a key, by its wire type.
WIRE_TYPES: dict[int, Construct] = {
    0: _NUMBER,
    1: Whole("field-overruns", Bytes(8)),
    2: _BLOB,
    5: Whole("field-overruns", Bytes(4)),
}

#: The fields of an event: name, wire type and layout by number.
FIELDS: dict[int, tuple[str, int, Construct]] = {
    1: ("type", 0, _NUMBER),
    2: ("topic", 2, _BLOB),
    3: ("data", 2, _BLOB),
    4: ("peer", 2, _BLOB),
    5: ("stream", 0, _INT32),
    16: ("features", 0, _NUMBER),
    17: ("request", 0, _NUMBER),
    18: ("code", 2, _TEXT),
    19: ("roles", 0, _NUMBER),
    20: ("window", 0, _NUMBER),
    21: ("key", 2, _BLOB),
    22: ("token", 2, _BLOB),
    23: ("handshake", 0, _NUMBER),
    24: ("profile", 2, _TEXT),
}

SWARM_EVENT: Construct = _Message(
    GreedyRange(
        Struct(
            "key" / _Key(Varint()),
            "value"
            / Switch(
                this.key[0],
                {number: layout for number, (_, _, layout) in FIELDS.items()},
                default=Switch(this.key[1], WIRE_TYPES),
            ),
        )
    )
)
"""
A frame's body, as an :class:`Event`: fields, each a key and a value, in any order (written in that of their numbers).

::

    +--------------------+-----------------------------+
    | number << 3 | wire | wire 0: varint              |
    |       varint       | wire 1: 8 bytes             |   * to the end of the body
    |                    | wire 2: length varint | ... |
    |                    | wire 5: 4 bytes             |
    +--------------------+-----------------------------+

READY; JOIN of a topic; the data "hi" in stream 5::

    08 01
    08 02 | 12 20 <32 bytes>
    08 06 | 1a 02 68 69      | 28 05
    type    topic, or data     stream
"""


def grammar_decode(body: bytes) -> Event:
    """The same as :func:`decode_body`, by the grammar: slow, for reference."""
    try:
        return SWARM_EVENT.parse(body)
    except Refusal as problem:
        raise EventError(problem.kind) from problem


# Writing by hand.


def encode_int32(value: int) -> bytes:
    """
    :returns: a varint of at most 5 bytes: of a negative value, the low 32 bits.
    :raises ValueError: it is out of range.
    """
    if not -0x80000000 <= value <= 0x7FFFFFFF:
        raise ValueError(f"{value} is not an int32")
    return encode_varint(value & 0xFFFFFFFF)


def encode_blob(value: bytes) -> bytes:
    """Bytes behind their length."""
    return encode_varint(len(value)) + value


def _encode_text(value: str) -> bytes:
    return encode_blob(value.encode())


_ENCODERS: dict[str, tuple[bytes, Callable[[Any], bytes]]] = {
    "type": (b"\x08", encode_varint),
    "topic": (b"\x12", encode_blob),
    "data": (b"\x1a", encode_blob),
    "peer": (b"\x22", encode_blob),
    "stream": (b"\x28", encode_int32),
    "features": (b"\x80\x01", encode_varint),
    "request": (b"\x88\x01", encode_varint),
    "code": (b"\x92\x01", _encode_text),
    "roles": (b"\x98\x01", encode_varint),
    "window": (b"\xa0\x01", encode_varint),
    "key": (b"\xaa\x01", encode_blob),
    "token": (b"\xb2\x01", encode_blob),
    "handshake": (b"\xb8\x01", encode_varint),
    "profile": (b"\xc2\x01", _encode_text),
}
_field_values = attrgetter(*_ENCODERS)
_field_encoders = tuple(_ENCODERS.values())


def encode_body(event: Event) -> bytes:
    """
    :returns: the fields, in the order of their numbers.
    :raises ValueError: a number is out of range.
    """
    fields = zip(_field_values(event), _field_encoders, strict=True)
    return b"".join([key + write(value) for value, (key, write) in fields if value is not None])


# Reading by hand.


def read_varint(data: bytes | memoryview, pos: int, end: int) -> tuple[int, int]:
    """
    :returns: the value, and where it ended.
    :raises EventError: ``varint-cut``, ``varint-too-long``.
    """
    value = shift = 0
    for index in range(pos, min(end, pos + VARINT_LIMIT)):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    kind = "varint-cut" if end - pos < VARINT_LIMIT else "varint-too-long"
    raise EventError(kind, bytes(data[pos : min(end, pos + VARINT_LIMIT)]).hex())


def to_int32(value: int) -> int:
    """The low 32 bits of an unsigned number, as a signed one."""
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def _to_text(value: bytes | memoryview) -> str:
    return str(value, "utf-8", "replace")


# By key, the number with the right wire type; whatever is not in here is looked at by _skip.
_DECODERS: dict[int, tuple[str, Callable[[Any], Any]]] = {
    0x08: ("type", int),
    0x12: ("topic", bytes),
    0x1A: ("data", bytes),
    0x22: ("peer", bytes),
    0x28: ("stream", to_int32),
    0x80: ("features", int),
    0x88: ("request", int),
    0x92: ("code", _to_text),
    0x98: ("roles", int),
    0xA0: ("window", int),
    0xAA: ("key", bytes),
    0xB2: ("token", bytes),
    0xB8: ("handshake", int),
    0xC2: ("profile", _to_text),
}
_KNOWN_NUMBERS = frozenset(key >> 3 for key in _DECODERS)
_NO_TYPE = -1


def decode_body(data: bytes | memoryview, pos: int, end: int) -> Event:
    """
    :param data: the body is what stands from ``pos`` to ``end``; it must be all there.
    :returns: the event, with bytes of its own: nothing of ``data`` is referred to.
    :raises EventError: ``no-type``, ``wrong-wire-type``, ``field-overruns``, ``group``, ``bad-wire-type``,
        ``field-number-zero``, ``varint-cut``, ``varint-too-long``.
    """
    event = Event(_NO_TYPE)
    while pos < end:
        key = data[pos]
        if key < 0x80:
            pos += 1
        else:
            key, pos = read_varint(data, pos, end)
        if key not in _DECODERS:
            pos = _skip(data, pos, end, key)
            continue
        name, convert = _DECODERS[key]
        if pos < end and data[pos] < 0x80:
            value = data[pos]
            pos += 1
        else:
            value, pos = read_varint(data, pos, end)
        if not key & 7:
            setattr(event, name, convert(value))
        else:
            start, pos = pos, _within(pos + value, end, key)
            setattr(event, name, convert(data[start:pos]))
    if event.type == _NO_TYPE:
        raise EventError("no-type")
    return event


def _within(pos: int, end: int, key: int) -> int:
    if pos > end:
        raise EventError("field-overruns", f"field {key >> 3} by {pos - end} bytes")
    return pos


def _skip(data: bytes | memoryview, pos: int, end: int, key: int) -> int:
    """
    :returns: where the field ends whose key, not one of ours, ended at ``pos``.
    :raises EventError: it is not one that may be skipped.
    """
    number, wire = key >> 3, key & 7
    if not number:
        raise EventError("field-number-zero")
    if number in _KNOWN_NUMBERS:
        raise EventError("wrong-wire-type", f"{wire} in field {number}")
    if wire == 0:
        return read_varint(data, pos, end)[1]
    if wire == 1:
        return _within(pos + 8, end, key)
    if wire == 2:
        length, pos = read_varint(data, pos, end)
        return _within(pos + length, end, key)
    if wire == 5:
        return _within(pos + 4, end, key)
    raise EventError("group" if wire in (3, 4) else "bad-wire-type", f"{wire} in field {number}")
