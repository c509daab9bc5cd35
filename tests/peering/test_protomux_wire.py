"""Protomux, in bytes: :mod:`spaceswarm_proxy.peering.protomux_wire`."""

from __future__ import annotations

from io import BytesIO

from construct import ConstructError
from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import MAX_UINT, UINT
from spaceswarm_proxy.errors import MessageError
from spaceswarm_proxy.peering.protomux_wire import (
    BATCH_ITEM,
    CONTROL,
    MESSAGE,
    OPEN,
    ControlType,
    Message,
    Open,
    encode_messages,
    read_messages,
)
from tests.crypto.connect_vectors import VECTORS

GENERIC = {
    name: [bytes.fromhex(each) for each in value]
    for name, value in VECTORS["protomux"]["generic"].items()
    if name != "note"
}
TOKEN = bytes([0x99]) * 32

uints = st.integers(0, 300) | st.integers(0, MAX_UINT)
messages = st.builds(Message, st.integers(1, 3) | uints.filter(bool), uints, st.binary(max_size=20))


def by_grammar(data: bytes) -> list[Message]:
    """What :func:`read_messages` reads, read with the grammars."""
    stream = BytesIO(data)
    first = MESSAGE.parse_stream(stream)
    if (first.channel, first.type) != (CONTROL, ControlType.BATCH):
        return [Message(first.channel, first.type, first.body)]
    found = []
    stream = BytesIO(first.body)
    channel = UINT.parse_stream(stream)
    while stream.tell() < len(first.body):
        item = BATCH_ITEM.parse_stream(stream)
        if item.data:
            inner = BytesIO(item.data)
            found.append(Message(channel, UINT.parse_stream(inner), inner.read()))
        else:
            channel = item.channel
    return found


class MessageTests(SynchronousTestCase):
    """Messages and batches."""

    def test_vectors(self) -> None:
        """They are written and read as the reference writes them."""
        batch = (Message(1, 0, b"\x01a"), Message(1, 1, b"\x07"))
        for encoded, expected in (
            (GENERIC["messages"][0], (Message(1, 0, b"\x02hi"),)),
            (GENERIC["messages"][1], (Message(1, 1, b"\x09\x09"),)),
            (GENERIC["corkedBatch"][0], batch),
            (GENERIC["rejectOfRemoteOpenOfUnknownProtocol"][0], (Message(CONTROL, ControlType.REJECT, b"\x01"),)),
        ):
            self.assertEqual(encoded, encode_messages(expected))
            self.assertEqual(expected, tuple(read_messages(encoded)))

    @settings(deadline=None)
    @given(st.lists(messages, min_size=1, max_size=6))
    def test_both_ways(self, given: list[Message]) -> None:
        """What was put into a batch comes out of it, channel by channel and in order."""
        self.assertEqual(given, list(read_messages(encode_messages(given))))

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=30) | st.binary(max_size=30).map(lambda data: b"\x00\x00" + data))
    def test_as_the_grammar(self, data: bytes) -> None:
        """The reader takes just what the grammar takes, and no batch inside a batch."""
        try:
            expected = by_grammar(data)
        except ConstructError:
            expected = None
        if expected is None or any(each[:2] == (CONTROL, ControlType.BATCH) for each in expected):
            self.assertRaises(MessageError, list, read_messages(data))
        else:
            self.assertEqual(expected, list(read_messages(data)))

    def test_nested(self) -> None:
        """A batch inside a batch is refused, however deep it would be."""
        data = b"\x00\x00\x00"
        for _ in range(3):
            data = encode_messages([Message(1, 0, b""), Message(CONTROL, ControlType.BATCH, data[2:])])
        read = read_messages(data)
        self.assertEqual(Message(1, 0, b""), next(read))
        self.assertEqual("nested-batch", self.assertRaises(MessageError, next, read).kind)


class OpenTests(SynchronousTestCase):
    """Opening."""

    def test_vectors(self) -> None:
        """As the reference writes it, with an id and without."""
        relay = VECTORS["protomux"]["blindRelayClient"]
        for encoded, expected in (
            (GENERIC["open"][0], Open(1, "test-protocol", b"")),
            (bytes.fromhex(relay["open"][0]), Open(1, "blind-relay", bytes.fromhex(relay["channelId"]))),
        ):
            message = Message(CONTROL, ControlType.OPEN, expected.encode())
            self.assertEqual(encoded, message.encode())
            self.assertEqual([message], list(read_messages(encoded)))
            self.assertEqual(expected, Open.parse(message.body))

    @settings(deadline=None)
    @given(st.builds(Open, uints, st.text(max_size=8), st.binary(max_size=8), st.binary(max_size=8)))
    def test_both_ways(self, open: Open) -> None:
        """What is written is what is read, by the reader and by the grammar."""
        self.assertEqual(open, Open.parse(open.encode()))
        fields = OPEN.parse(open.encode())
        self.assertEqual(open, (fields.channel, fields.protocol, fields.id, fields.handshake))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=20))
    def test_as_the_grammar(self, body: bytes) -> None:
        """The reader takes just what the grammar takes; names that are not UTF-8 are names too."""
        try:
            fields = OPEN.parse(body)
        except ConstructError:
            self.assertRaises(MessageError, Open.parse, body)
        else:
            self.assertEqual((fields.channel, fields.protocol, fields.id, fields.handshake), Open.parse(body))
