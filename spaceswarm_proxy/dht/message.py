"""
Requests and responses, one a datagram.

Bytes::

    03 flags tid:2 to:6 [id:32] [token:32] command:uint [target:32] [value:buffer]             a request
    13 flags tid:2 to:6 [id:32] [token:32] [closer nodes: array of addresses] [error:uint] [value:buffer]

A flag says that its field follows.  What comes after the last known field is ignored, and so are unknown flags.

:data:`REQUEST` and :data:`RESPONSE` are the grammar; :func:`parse_request` and :func:`parse_response` are what the
node reads with, and the tests hold the two equal.

:source: npm ``dht-rpc`` 6; spec/dht.md, sections 3 and 4.
"""

from __future__ import annotations

from typing import NamedTuple

from construct import Const, If, Struct, this

from spaceswarm_proxy.codec.compact import (
    ADDRESS,
    ADDRESS_LENGTH,
    ADDRESSES,
    BUFFER,
    FIXED32,
    UINT,
    UINT16,
    encode_buffer,
    encode_uint,
    read_addresses,
    read_buffer,
    read_fixed,
    read_uint,
)
from spaceswarm_proxy.dht.contact import ID_LENGTH
from spaceswarm_proxy.errors import MessageError

REQUEST_BYTE = 0x03
RESPONSE_BYTE = 0x13

HAS_ID = 1
HAS_TOKEN = 2
#: Of a request: the command is of the internal number space.
INTERNAL = 4
HAS_TARGET = 8
HAS_VALUE = 16
#: Of a response.
HAS_CLOSER = 4
HAS_ERROR = 8

#: Bytes before the first field that may be missing, with flags of one byte.
HEAD_LENGTH = 10
TOKEN_LENGTH = 32
#: Addresses of closer nodes that are taken from a response; nodes send 20 at most.
MAX_CLOSER = 20

REQUEST = Struct(
    "kind" / Const(bytes([REQUEST_BYTE])),
    "flags" / UINT,
    "tid" / UINT16,
    "to" / ADDRESS,
    "id" / If(this.flags & HAS_ID, FIXED32),
    "token" / If(this.flags & HAS_TOKEN, FIXED32),
    "command" / UINT,
    "target" / If(this.flags & HAS_TARGET, FIXED32),
    "value" / If(this.flags & HAS_VALUE, BUFFER),
)

RESPONSE = Struct(
    "kind" / Const(bytes([RESPONSE_BYTE])),
    "flags" / UINT,
    "tid" / UINT16,
    "to" / ADDRESS,
    "id" / If(this.flags & HAS_ID, FIXED32),
    "token" / If(this.flags & HAS_TOKEN, FIXED32),
    "closer" / If(this.flags & HAS_CLOSER, ADDRESSES),
    "error" / If(this.flags & HAS_ERROR, UINT),
    "value" / If(this.flags & HAS_VALUE, BUFFER),
)


class Request(NamedTuple):
    """What somebody wants of a node."""

    #: Two bytes, which the response repeats.
    tid: bytes
    #: The receiver's address, as the sender sees it.
    to: bytes
    #: What the sender says that its id is.
    id: bytes | None
    token: bytes | None
    internal: bool
    command: int
    target: bytes | None
    value: bytes | None


class Response(NamedTuple):
    """What a node answers."""

    tid: bytes
    #: The address that it was sent to: the requester's, as the node sees it.
    to: bytes
    id: bytes | None
    token: bytes | None
    #: Six bytes each, :data:`MAX_CLOSER` at most.
    closer: list[bytes]
    error: int
    value: bytes | None


def _read_head(data: bytes) -> tuple[int, bytes, bytes, int]:
    """:returns: flags, tid, to, and where the fields begin."""
    flags, offset = read_uint(data, 1)
    end = offset + 2 + ADDRESS_LENGTH
    if end > len(data):
        raise MessageError("cut")
    return flags, data[offset : offset + 2], data[offset + 2 : end], end


def parse_request(data: bytes) -> Request:
    """
    :param data: a datagram whose first byte is :data:`REQUEST_BYTE`.
    :raises MessageError: a field is cut short, or out of range.
    """
    id = token = target = value = None
    flags, tid, to, offset = _read_head(data)
    if flags & HAS_ID:
        id, offset = read_fixed(data, offset, ID_LENGTH)
    if flags & HAS_TOKEN:
        token, offset = read_fixed(data, offset, TOKEN_LENGTH)
    command, offset = read_uint(data, offset)
    if flags & HAS_TARGET:
        target, offset = read_fixed(data, offset, ID_LENGTH)
    if flags & HAS_VALUE:
        value, offset = read_buffer(data, offset)
    return Request(tid, to, id, token, bool(flags & INTERNAL), command, target, value)


def parse_response(data: bytes) -> Response:
    """
    :param data: a datagram whose first byte is :data:`RESPONSE_BYTE`.
    :raises MessageError: a field is cut short, or out of range.
    """
    id = token = value = None
    closer: list[bytes] = []
    error = 0
    flags, tid, to, offset = _read_head(data)
    if flags & HAS_ID:
        id, offset = read_fixed(data, offset, ID_LENGTH)
    if flags & HAS_TOKEN:
        token, offset = read_fixed(data, offset, TOKEN_LENGTH)
    if flags & HAS_CLOSER:
        closer, offset = read_addresses(data, offset, MAX_CLOSER)
    if flags & HAS_ERROR:
        error, offset = read_uint(data, offset)
    if flags & HAS_VALUE:
        value, offset = read_buffer(data, offset)
    return Response(tid, to, id, token, closer, error, value)


class Command(NamedTuple):
    """What a request asks for, encoded: the same for every node that is asked, and for every retransmission."""

    flags: int
    #: Command, target and value, as they stand at the request's end.
    tail: bytes
    target: bytes | None

    @classmethod
    def make(cls, internal: bool, command: int, target: bytes | None = None, value: bytes | None = None) -> Command:
        """
        :param target: 32 bytes, or none.
        :param value: none is not the same as an empty one.
        """
        flags = INTERNAL if internal else 0
        tail = encode_uint(command)
        if target is not None:
            flags |= HAS_TARGET
            tail += target
        if value is not None:
            flags |= HAS_VALUE
            tail += encode_buffer(value)
        return cls(flags, tail, target)


def encode_request(command: Command, tid: bytes, to: bytes, id: bytes | None, token: bytes | None) -> bytes:
    """
    :param tid: two bytes.
    :param to: the receiver's address.
    :param id: ours, if it may be told.
    :param token: one that the receiver has given us.
    :returns: the datagram.
    """
    flags = command.flags
    head = tid + to
    if id is not None:
        flags |= HAS_ID
        head += id
    if token is not None:
        flags |= HAS_TOKEN
        head += token
    return bytes((REQUEST_BYTE, flags)) + head + command.tail


def encode_response(
    tid: bytes, to: bytes, id: bytes | None, token: bytes | None, closer: bytes, error: int, value: bytes | None
) -> bytes:
    """
    :param closer: an encoded array of addresses; empty bytes for none.
    :param error: 0 is not sent.
    :returns: the datagram.
    """
    flags = 0
    fields = tid + to
    if id is not None:
        flags |= HAS_ID
        fields += id
    if token is not None:
        flags |= HAS_TOKEN
        fields += token
    if closer:
        flags |= HAS_CLOSER
        fields += closer
    if error:
        flags |= HAS_ERROR
        fields += encode_uint(error)
    if value is not None:
        flags |= HAS_VALUE
        fields += encode_buffer(value)
    return bytes((RESPONSE_BYTE, flags)) + fields
