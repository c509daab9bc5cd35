"""Tests of spaceswarm_proxy.udx.packet."""

from __future__ import annotations

from construct import ConstructError
from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.udx.packet import (
    DATA,
    HEADER_LENGTH,
    MASK,
    MAX_DATAGRAM,
    MAX_RANGES,
    PACKET,
    PLAIN,
    PREFIX,
    SACK,
    Packet,
    encode_header,
    encode_state,
    parse,
    plain_key,
    unwrap,
)
from tests.udx.udx_vectors import PACKETS, TRANSCRIPTS, VECTORS, datagram_of, packet_of

quick = settings(deadline=None, max_examples=150)
numbers = st.integers(0, MASK)
datagrams = st.builds(
    lambda flags, offset, numbers, area, payload: encode_header(flags, offset, *numbers) + area + payload,
    st.integers(0, 255),
    st.integers(0, 255),
    st.tuples(numbers, numbers, numbers, numbers),
    st.binary(max_size=255),
    st.binary(max_size=60),
)


def by_grammar(data: bytes) -> tuple[int, int, int, int, int, bytes, bytes] | None:
    """:returns: what the grammar says of a datagram: fields, offset area, payload."""
    try:
        fields = PACKET.parse(data)
    except ConstructError:
        return None
    return (
        fields.flags,
        fields.id,
        fields.window,
        fields.seq,
        fields.ack,
        fields.offset_area,
        fields.payload,
    )


def encode(packet: Packet, offset: int) -> bytes:
    """:returns: the packet as we would write it."""
    if packet.ranges:
        return encode_state(packet.id, packet.window, packet.seq, packet.ack, packet.ranges)
    header = encode_header(packet.flags, offset, packet.id, packet.window, packet.seq, packet.ack)
    return header + bytes(offset) + packet.payload


class VectorTests(SynchronousTestCase):
    """Every packet that was recorded of the reference."""

    def test_parse(self) -> None:
        """Each has the fields that the file says."""
        for name, vector in PACKETS.items():
            data = bytes.fromhex(vector["hex"])
            fields = vector["fields"]
            payload = data[HEADER_LENGTH + fields["data_offset"] :] if not fields.get("sack") else b""
            self.assertEqual(packet_of(fields, payload), parse(data), name)
            self.assertEqual(fields["payload_length"], len(payload), name)

    def test_encode(self) -> None:
        """Each is what we would write."""
        for name, vector in PACKETS.items():
            data = bytes.fromhex(vector["hex"])
            packet = parse(data)
            assert packet is not None
            self.assertEqual(data, encode(packet, vector["fields"]["data_offset"]), name)

    def test_transcripts(self) -> None:
        """So are those of the conversations."""
        for transcript in TRANSCRIPTS.values():
            for entry in transcript.get("packets", []) + transcript.get("sent", []) + transcript.get("received", []):
                data = datagram_of(entry)
                packet = parse(data)
                assert packet is not None
                self.assertEqual(packet_of(entry["fields"], packet.payload), packet)
                self.assertEqual(data, encode(packet, entry["fields"]["data_offset"]))

    def test_flags(self) -> None:
        """The bits are those."""
        bits = {
            name: getattr(__import__("spaceswarm_proxy.udx.packet", fromlist=[name]), name) for name in VECTORS["flags"]
        }
        self.assertEqual(VECTORS["flags"], bits)


class ParseTests(SynchronousTestCase):
    """Any bytes."""

    def assert_agrees(self, data: bytes) -> None:
        """The grammar and the fast way see the same."""
        expected, packet = by_grammar(data), parse(data)
        if expected is None or packet is None:
            self.assertEqual((None, None), (expected, packet))
            return
        flags, *numbers, area, payload = expected
        self.assertEqual((flags, *numbers), packet[:5])
        if not flags & SACK:
            self.assertEqual((payload, ()), (bytes(packet.payload), packet.ranges))
            return
        ranges = area or payload
        self.assertEqual(payload if area else b"", bytes(packet.payload))
        said = b"".join(start.to_bytes(4, "little") + end.to_bytes(4, "little") for start, end in packet.ranges)
        self.assertEqual(ranges[: len(ranges) - len(ranges) % 8][: MAX_DATAGRAM - HEADER_LENGTH], said)

    @quick
    @given(datagrams)
    def test_packets(self, data: bytes) -> None:
        """Whatever looks like a packet is read as the grammar says."""
        self.assert_agrees(data)
        self.assert_agrees(data[: len(data) // 2])

    @quick
    @given(datagrams, st.integers(0, 400), st.integers(0, 255))
    def test_damaged(self, data: bytes, place: int, byte: int) -> None:
        """So is what was damaged on the way."""
        place %= len(data)
        self.assert_agrees(data[:place] + bytes([byte]) + data[place + 1 :])
        self.assert_agrees(data[:place])

    @quick
    @given(st.binary(max_size=40) | st.binary(max_size=40).map(PREFIX.__add__))
    def test_anything(self, data: bytes) -> None:
        """So is anything else."""
        self.assert_agrees(data)

    def test_offset_beyond_the_end(self) -> None:
        """A data offset that leads out of the datagram makes it none."""
        self.assertIsNone(parse(encode_header(DATA, 4, 1, 2, 3, 4) + b"abc"))
        self.assertIsNotNone(parse(encode_header(DATA, 4, 1, 2, 3, 4) + b"abcd"))

    def test_ranges_with_data(self) -> None:
        """Ranges may ride on data, in the offset area."""
        area = b"".join(number.to_bytes(4, "little") for number in (7, 9))
        packet = parse(encode_header(DATA | SACK, 8, 1, 2, 3, 4) + area + b"text")
        assert packet is not None
        self.assertEqual((((7, 9),), b"text"), (packet.ranges, packet.payload))

    def test_ranges_are_bounded(self) -> None:
        """No more ranges are read than a datagram of the reference holds."""
        packet = parse(encode_header(SACK, 0, 1, 2, 3, 4) + bytes(8 * 5000))
        assert packet is not None
        self.assertEqual((MAX_DATAGRAM - HEADER_LENGTH) // 8, len(packet.ranges))

    def test_no_copy(self) -> None:
        """The payload is a slice of what was received."""
        data = memoryview(encode_header(DATA, 0, 1, 2, 3, 4) + b"text")
        packet = parse(data)
        assert packet is not None
        assert isinstance(packet.payload, memoryview)
        self.assertIs(data.obj, packet.payload.obj)


class EncodeTests(SynchronousTestCase):
    """Ours."""

    @quick
    @given(st.integers(0, 255), numbers, numbers, numbers, numbers)
    def test_header(self, flags: int, id: int, window: int, seq: int, ack: int) -> None:
        """A header is as the grammar builds it."""
        fields = {"flags": flags, "data_offset": 0, "id": id, "window": window, "seq": seq, "ack": ack}
        built = PACKET.build({**fields, "offset_area": b"", "payload": b""})
        self.assertEqual(built, encode_header(flags, 0, id, window, seq, ack))

    def test_numbers_wrap(self) -> None:
        """Numbers are whole inside, and 32 bits on the wire."""
        packet = parse(encode_state(1, 2, (1 << 32) + 5, (3 << 32) + 6, [((1 << 32) - 1, (1 << 32) + 1)]))
        assert packet is not None
        self.assertEqual((5, 6, ((MASK, 1),)), (packet.seq, packet.ack, packet.ranges))

    def test_state_without_ranges(self) -> None:
        """A state without ranges is a header without flags."""
        self.assertEqual(encode_header(0, 0, 1, 2, 3, 4), encode_state(1, 2, 3, 4))

    def test_fifty_ranges(self) -> None:
        """As many ranges as we tell of fit into the smallest path."""
        state = encode_state(1, 2, 3, 4, [(number, number + 1) for number in range(MAX_RANGES)])
        self.assertEqual(420, len(state))

    @quick
    @given(st.integers(0, 255), numbers, numbers, numbers, numbers)
    def test_key(self, flags: int, id: int, window: int, seq: int, ack: int) -> None:
        """The key of a stream's plain packets is what they begin with."""
        found = PLAIN.unpack_from(encode_header(flags, 0, id, window, seq, ack))
        self.assertEqual((plain_key(flags, id), window, seq, ack), found)


class UnwrapTests(SynchronousTestCase):
    """Numbers that wrap."""

    @quick
    @given(st.integers(0, 1 << 40), st.integers(-(1 << 31), (1 << 31) - 1))
    def test_nearest(self, near: int, distance: int) -> None:
        """Of all numbers with the same low bits it is the nearest."""
        self.assertEqual(near + distance, unwrap((near + distance) & MASK, near))
