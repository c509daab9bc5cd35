"""
Protomux, in bytes: many channels in one stream of messages.

A message of the stream is a message of one channel, or a batch of them::

    channel:uint | type:uint | body                                 one; the sender's number for the channel
    0 | 0 | channel:uint | item ...                                 a batch; an item is one of
        length:uint | type:uint | body                                  one for that channel
        00 | channel:uint                                               from here on for that channel
    0 | 1 | channel:uint | protocol:string | id:buffer | handshake  the sender opens a channel
    0 | 2 | channel:uint                                            it refuses the receiver's
    0 | 3 | channel:uint                                            it closes its own

:source: npm ``protomux`` 3; spec/connect.md, section 9.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from construct import GreedyBytes, If, Struct, len_, this

from spaceswarm_proxy.codec.compact import BUFFER, TEXT, UINT, encode_buffer, encode_uint, read_buffer, read_uint
from spaceswarm_proxy.errors import MessageError

#: The channel that the others are opened and closed in.
CONTROL = 0

MESSAGE = Struct("channel" / UINT, "type" / UINT, "body" / GreedyBytes)
#: What comes after the first channel in a batch, again and again.
BATCH_ITEM = Struct("data" / BUFFER, "channel" / If(len_(this.data) == 0, UINT))
OPEN = Struct("channel" / UINT, "protocol" / TEXT, "id" / BUFFER, "handshake" / GreedyBytes)


class ControlType(IntEnum):
    """The types of messages in channel 0."""

    BATCH = 0
    OPEN = 1
    REJECT = 2
    CLOSE = 3


class Message(NamedTuple):
    """What one channel says."""

    channel: int
    type: int
    body: bytes

    def encode(self) -> bytes:
        """:returns: it in bytes, alone."""
        return encode_uint(self.channel) + encode_uint(self.type) + self.body


class Open(NamedTuple):
    """The body of an OPEN."""

    channel: int
    protocol: str
    #: Tells channels of one protocol apart; may be empty.
    id: bytes
    handshake: bytes = b""

    @classmethod
    def parse(cls, body: bytes) -> Open:
        """:raises MessageError: it is cut short."""
        channel, offset = read_uint(body, 0)
        protocol, offset = read_buffer(body, offset)
        id, offset = read_buffer(body, offset)
        return cls(channel, protocol.decode("utf-8", "replace"), id, body[offset:])

    def encode(self) -> bytes:
        """:returns: it in bytes."""
        name = encode_buffer(self.protocol.encode())
        return encode_uint(self.channel) + name + encode_buffer(self.id) + self.handshake


def read_messages(data: bytes) -> Iterator[Message]:
    """
    Read one message of the stream, each of its own as it is wanted: a batch is never there twice.

    :returns: those of a batch in order, or the only one.
    :raises MessageError: cut short, or a batch inside a batch; those before it have been given out.
    """
    channel, offset = read_uint(data, 0)
    type, offset = read_uint(data, offset)
    if channel == CONTROL and type == ControlType.BATCH:
        yield from _read_batch(data, offset)
    else:
        yield Message(channel, type, data[offset:])


def _read_batch(data: bytes, offset: int) -> Iterator[Message]:
    channel, offset = read_uint(data, offset)
    while offset < len(data):
        item, offset = read_buffer(data, offset)
        if not item:
            channel, offset = read_uint(data, offset)
            continue
        type, start = read_uint(item, 0)
        if channel == CONTROL and type == ControlType.BATCH:
            raise MessageError("nested-batch")
        yield Message(channel, type, item[start:])


def encode_messages(messages: Sequence[Message]) -> bytes:
    """
    :param messages: at least one.
    :returns: one message of the stream: a batch, unless there is one only.
    """
    if len(messages) == 1:
        return messages[0].encode()
    channel = messages[0].channel
    parts = [bytes((CONTROL, ControlType.BATCH)), encode_uint(channel)]
    for message in messages:
        if message.channel != channel:
            channel = message.channel
            parts += (b"\x00", encode_uint(channel))
        parts.append(encode_buffer(encode_uint(message.type) + message.body))
    return b"".join(parts)
