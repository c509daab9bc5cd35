"""What is said to a blind relay: :mod:`spaceswarm_proxy.peering.blind_relay`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.compact import MAX_UINT, encode_uint
from spaceswarm_proxy.errors import MessageError
from spaceswarm_proxy.peering.blind_relay import MAX_STREAM_ID, PAIR, UNPAIR, Pair, Unpair
from tests.crypto.connect_vectors import VECTORS

tokens = st.binary(min_size=32, max_size=32)
pairs = st.builds(Pair, st.booleans(), tokens, st.integers(0, MAX_STREAM_ID), st.integers(0, MAX_UINT))


def pair_of(fields: dict[str, Any]) -> Pair:
    return Pair(fields["isInitiator"], bytes.fromhex(fields["token"]), fields["id"], fields["seq"])


class MessageTests(SynchronousTestCase):
    """Both messages."""

    def test_vectors(self) -> None:
        """They are written and read as the reference writes them."""
        relay = VECTORS["blindRelay"]
        for vector, value in (
            *((vector, pair_of(vector["value"])) for vector in relay["pair"]),
            *((vector, Unpair(bytes.fromhex(vector["value"]["token"]))) for vector in relay["unpair"]),
        ):
            encoded = bytes.fromhex(vector["encoded"])
            self.assertEqual(encoded, value.encode())
            self.assertEqual(value, type(value).parse(encoded))

    @settings(deadline=None)
    @given(pairs)
    def test_both_ways(self, pair: Pair) -> None:
        """What is written is what is read, and what the grammar would write."""
        self.assertEqual(pair, Pair.parse(pair.encode()))
        fields = {"flags": pair.initiator, "token": pair.token, "id": pair.stream_id, "seq": pair.seq}
        self.assertEqual(PAIR.build(fields), pair.encode())
        self.assertEqual(UNPAIR.build({"flags": 0, "token": pair.token}), Unpair(pair.token).encode())

    def test_flags(self) -> None:
        """Flags from the future are passed over."""
        data = b"\xfe" + bytes(32) + b"\x07\x00"
        self.assertEqual(Pair(False, bytes(32), 7), Pair.parse(data))
        self.assertEqual(Unpair(bytes(32)), Unpair.parse(data[:33]))

    def test_no_such_stream(self) -> None:
        """A number that no stream can have is refused."""
        data = b"\x01" + bytes(32) + encode_uint(MAX_STREAM_ID + 1) + b"\x00"
        self.assertEqual("stream-id-too-large", self.assertRaises(MessageError, Pair.parse, data).kind)

    @settings(deadline=None)
    @given(st.binary(max_size=60) | pairs.map(lambda pair: pair.encode()[:-1]))
    def test_anything(self, data: bytes) -> None:
        """Bytes of any kind are a message, or refused with an error of ours."""
        for kind in (Pair, Unpair):
            try:
                kind.parse(data)
            except MessageError:
                continue
