"""Tests of spaceswarm_proxy.crypto.keys."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keys import KeyPair

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "keys.json").read_text())


class KeyPairTests(SynchronousTestCase):
    """Who somebody is."""

    def test_vectors(self) -> None:
        """A seed gives the keys that the JavaScript packages make of it."""
        for vector in VECTORS["keys"]:
            pair = KeyPair.from_seed(bytes.fromhex(vector["seed"]))
            self.assertEqual(pair.public_key.hex(), vector["publicKey"])
            self.assertEqual(pair.secret_key.hex(), vector["secretKey"])

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
