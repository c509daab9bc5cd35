"""
What is said to a blind relay, and by it.

A relay couples the UDX streams of two peers that cannot reach each other, and sees only what they encrypt.  Both
connect to it, and name the same *token*; one as the initiator, the other not::

    pair      flags:1 | token:32 | id:uint | seq:uint       flags: 1 for the initiator; seq is 0
    unpair    flags:1 | token:32

A peer's ``pair`` has the number of its raw stream, and the relay's answer that of the stream to connect it to, at the
address and over the socket of the connection with the relay.

A relay of ours says ``unpair`` when a pairing has come to nothing; the reference is silent then, and takes no notice.

:source: npm ``blind-relay`` 1.6; spec/connect.md, section 9.2.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from construct import Struct

from spaceswarm_proxy.codec.compact import FIXED32, UINT, UINT8, encode_uint
from spaceswarm_proxy.dht.values import parse_value
from spaceswarm_proxy.errors import MessageError

#: The protocol's name in protomux; the channel's id is the public key of the peer, as the relay knows it.
PROTOCOL = "blind-relay"
TOKEN_LENGTH = 32
#: The highest number that a raw stream can have.
MAX_STREAM_ID = (1 << 32) - 1

IS_INITIATOR = 1

PAIR = Struct("flags" / UINT8, "token" / FIXED32, "id" / UINT, "seq" / UINT)
UNPAIR = Struct("flags" / UINT8, "token" / FIXED32)


class RelayMessage(IntEnum):
    """The types of the channel's messages."""

    PAIR = 0
    UNPAIR = 1


class Pair(NamedTuple):
    """Take this place, or: your place is coupled with the other one."""

    initiator: bool
    token: bytes
    #: Of the sender's raw stream.
    stream_id: int
    seq: int = 0

    @classmethod
    def parse(cls, body: bytes) -> Pair:
        """:raises MessageError: it is none."""
        fields = parse_value(PAIR, body)
        if fields.id > MAX_STREAM_ID:
            raise MessageError("stream-id-too-large", str(fields.id))
        return cls(bool(fields.flags & IS_INITIATOR), fields.token, fields.id, fields.seq)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        flags = IS_INITIATOR if self.initiator else 0
        return bytes((flags,)) + self.token + encode_uint(self.stream_id) + encode_uint(self.seq)


class Unpair(NamedTuple):
    """Give the place up, and what it is coupled with."""

    token: bytes

    @classmethod
    def parse(cls, body: bytes) -> Unpair:
        """:raises MessageError: it is none."""
        return cls(parse_value(UNPAIR, body).token)

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        return b"\x00" + self.token
