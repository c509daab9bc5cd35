"""Tests of spaceswarm_proxy.codec.varint."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.varint import Refusal, Varint, encode_varint


class VarintTests(SynchronousTestCase):
    """Bounded LEB128, by the grammar and by hand."""

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**70 - 1))
    def test_both_ways(self, value: int) -> None:
        """Every number of up to 70 bits is written alike by hand and by the grammar, and read back."""
        data = encode_varint(value)
        self.assertEqual(data, Varint().build(value))
        self.assertEqual(Varint().parse(data), value)
        self.assertEqual(len(data), max(1, -(-value.bit_length() // 7)))

    def test_out_of_range(self) -> None:
        """A negative number, and one that takes 11 bytes, are refused."""
        self.assertRaises(ValueError, encode_varint, -1)
        self.assertRaises(ValueError, encode_varint, 2**70)

    def test_bounded(self) -> None:
        """Reading stops at the limit, however much follows."""
        refused = self.assertRaises(Refusal, Varint(limit=5).parse, b"\x80" * 1000)
        self.assertEqual(refused.kind, "varint-too-long")
        self.assertEqual(Varint(limit=5).parse(b"\x81\x80\x80\x80\x00"), 1)

    def test_cut(self) -> None:
        """One that is cut off is refused, and is not the end of a range."""
        self.assertEqual(self.assertRaises(Refusal, Varint().parse, b"\x80\x80").kind, "varint-cut")
