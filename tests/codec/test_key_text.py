"""Tests of spaceswarm_proxy.codec.key_text."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.codec.key_text import decode_key, encode_key
from tests.dht.strategies import hashes
from tests.dht.vectors import vectors

ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"

#: All sorts; and those that have the length of a key, and nearly its digits.
texts = st.one_of(
    st.text(max_size=70),
    st.text(ALPHABET + "lv02 \u212a", min_size=52, max_size=52),
    st.text("0aA \tg", min_size=64, max_size=64),
)


class KeyTextTests(SynchronousTestCase):
    """Keys as people write them."""

    def test_vectors(self) -> None:
        """A key's z-base-32 is that of the JavaScript packages, and is the key again."""
        for row in vectors("id_encodings"):
            key = bytes.fromhex(row["key"])
            self.assertEqual(encode_key(key), row["z_base_32"])
            self.assertEqual(decode_key(row["z_base_32"]), key)
            self.assertEqual(decode_key("pear://" + row["z_base_32"]), key)
            self.assertEqual(decode_key(row["key"]), key)

    @settings(deadline=None, max_examples=80)
    @given(hashes, st.sampled_from(["", "pear://"]), st.sampled_from(["", " ", "\n"]), st.booleans())
    def test_round_trip(self, key: bytes, scheme: str, space: str, upper: bool) -> None:
        """Each form, in small letters or large, with or without the scheme and space around it, is the key."""
        for digits in (encode_key(key), key.hex()):
            self.assertEqual(decode_key(space + scheme + (digits.upper() if upper else digits) + space), key)

    @settings(deadline=None, max_examples=80)
    @given(st.text(ALPHABET, min_size=52, max_size=52))
    def test_padding(self, text: str) -> None:
        """The four bits after the key's are not looked at."""
        key = decode_key(text)
        self.assertEqual(len(key), 32)
        self.assertEqual(encode_key(key)[:51], text[:51])

    @settings(deadline=None, max_examples=80)
    @given(st.binary(max_size=70).filter(lambda key: len(key) != 32))
    def test_other_lengths(self, key: bytes) -> None:
        """What has not 32 bytes is no key, in any form."""
        self.assertRaises(ValueError, encode_key, key)
        self.assertRaises(ValueError, decode_key, "0" + key.hex()[1:])

    @settings(deadline=None, max_examples=200)
    @given(texts)
    def test_any_text(self, text: str) -> None:
        """Any text is a key of 32 bytes, or refused with what it is."""
        try:
            key = decode_key(text)
        except ValueError as problem:
            self.assertIn(repr(text), str(problem))
        else:
            digits = text.strip().removeprefix("pear://").lower()
            self.assertEqual(len(key), 32)
            self.assertIn(digits[:51], (encode_key(key)[:51], key.hex()[:51]))

    def test_refused(self) -> None:
        """Other digits, other lengths and other schemes are refused."""
        good = encode_key(bytes(range(32)))
        for text in (
            "",
            "pear://",
            good[:-1],
            good + "y",
            "l" + good[1:],
            "\u212a" + good[1:],
            "ab " * 20 + "abcd",
            "0" * 63,
            "g" * 64,
            "\u0660" * 64,
            "http://" + good,
            "pear://pear://" + good,
        ):
            self.assertRaises(ValueError, decode_key, text)
