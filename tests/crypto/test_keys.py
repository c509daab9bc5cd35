"""Tests of spaceswarm_proxy.crypto.keys."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.hashing import hash32
from spaceswarm_proxy.crypto.keys import SIGNATURE_LENGTH, KeyPair, verify
from tests.dht.vectors import vectors

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "keys.json").read_text())


class KeyPairTests(SynchronousTestCase):
    """Who somebody is."""

    def test_vectors(self) -> None:
        """A seed gives the keys that the JavaScript packages make of it."""
        for vector in VECTORS["keys"]:
            pair = KeyPair.from_seed(bytes.fromhex(vector["seed"]))
            self.assertEqual(pair.public_key.hex(), vector["publicKey"])
            self.assertEqual(pair.secret_key.hex(), vector["secretKey"])
        for row in vectors("key_pairs"):
            pair = KeyPair.from_seed(bytes.fromhex(row["seed"]))
            self.assertEqual((pair.public_key.hex(), pair.secret_key.hex()), (row["public_key"], row["secret_key"]))
            self.assertEqual(hash32(pair.public_key).hex(), row["peer_target"])

    def test_seed(self) -> None:
        """A pair knows its seed, from which it can be made again."""
        pair = KeyPair.generate()
        self.assertEqual(KeyPair.from_seed(pair.seed), pair)
        self.assertEqual((len(pair.public_key), len(pair.secret_key), len(pair.seed)), (32, 64, 32))

    def test_fresh(self) -> None:
        """No two are alike."""
        self.assertNotEqual(KeyPair.generate(), KeyPair.generate())

    def test_any_bytes(self) -> None:
        """A seed may be any bytes-like of 32 bytes, and nothing else."""
        self.assertEqual(KeyPair.from_seed(bytearray(32)), KeyPair.from_seed(bytes(32)))  # type: ignore[arg-type]
        for seed in (b"", bytes(31), bytes(33), bytes(64)):
            self.assertRaises(ValueError, KeyPair.from_seed, seed)

    def test_secret(self) -> None:
        """The secret key does not come into logs with the pair."""
        pair = KeyPair.from_seed(b"\x07" * 32)
        self.assertNotIn(repr(pair.seed)[2:-1], repr(pair))
        self.assertNotIn("secret", repr(pair))


class SignatureTests(SynchronousTestCase):
    """What somebody has signed."""

    PAIR = KeyPair.from_seed(b"\x01" * 32)

    def test_vectors(self) -> None:
        """We sign as the JavaScript packages do, and believe what they have signed."""
        for row in [*vectors("announces"), *vectors("mutable")]:
            pair = KeyPair.from_seed(bytes.fromhex(row["seed"]))
            message, signature = bytes.fromhex(row["signable"]), bytes.fromhex(row["signature"])
            self.assertEqual(pair.sign(message), signature)
            self.assertTrue(verify(signature, message, pair.public_key))

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=100), st.integers(0, 2**16), st.integers(0, 7), st.integers(0, 2))
    def test_a_bit_changed(self, message: bytes, place: int, bit: int, part: int) -> None:
        """A signature holds for its message and its key, and for nothing that differs in a bit."""
        parts = [self.PAIR.sign(message), message, self.PAIR.public_key]
        self.assertEqual(len(parts[0]), SIGNATURE_LENGTH)
        self.assertTrue(verify(*parts))
        changed = bytearray(parts[part] or b"\x00")
        changed[place % len(changed)] ^= 1 << bit
        parts[part] = bytes(changed)
        self.assertFalse(verify(*parts))

    def test_other_lengths(self) -> None:
        """A signature or a key of another length is wrong, not an exception."""
        message = b"message"
        signature, key = self.PAIR.sign(message), self.PAIR.public_key
        for wrong in (b"", signature[:-1], signature + b"\x00", signature + message):
            self.assertFalse(verify(wrong, message, key))
        for wrong in (b"", key[:-1], key + b"\x00"):
            self.assertFalse(verify(signature, message, wrong))
        # Whether the two are put together or not, their border is where it is.
        self.assertFalse(verify(signature[:-1], signature[-1:] + message, key))
        self.assertFalse(verify(signature + message[:1], message[1:], key))

    def test_key_of_nobody(self) -> None:
        """A key of small order, for which a signature would fit any message, is nobody's."""
        nobody = b"\x01" + bytes(31)
        self.assertFalse(verify(nobody + bytes(32), b"message", nobody))
