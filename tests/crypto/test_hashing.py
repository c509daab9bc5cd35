"""Tests of spaceswarm_proxy.crypto.hashing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.hashing import HASH_LENGTH, hash32, keyed_hash32, namespace
from tests.dht.vectors import vectors


class HashTests(SynchronousTestCase):
    """BLAKE2b as libsodium has it."""

    def test_plain(self) -> None:
        """A hash is what the JavaScript packages make of the same bytes."""
        for row in vectors("node_ids"):
            self.assertEqual(hash32(bytes.fromhex(row["address_hex"])).hex(), row["id"])
        for row in vectors("immutable"):
            self.assertEqual(hash32(bytes.fromhex(row["value"])).hex(), row["target"])
        self.assertEqual(len(hash32(b"")), HASH_LENGTH)

    def test_keyed(self) -> None:
        """So is a keyed one; the key matters."""
        for row in vectors("tokens")["tokens"]:
            key, data = bytes.fromhex(row["key"]), bytes.fromhex(row["input_hex"])
            self.assertEqual(keyed_hash32(key, data).hex(), row["token"])
            self.assertNotEqual(keyed_hash32(key, data), hash32(data))


class NamespaceTests(SynchronousTestCase):
    """What separates one kind of signature from another."""

    def test_commands(self) -> None:
        """The namespaces of the DHT's commands are those of the JavaScript packages, for both networks."""
        for row in vectors("namespaces"):
            label = bytes.fromhex(row["label_utf8_hex"]).decode()
            self.assertEqual(hash32(label.encode()).hex(), row["base_hash"])
            for each in row["namespaces"].values():
                self.assertEqual(namespace(label, each["command"]).hex(), each["hex"])

    def test_streams(self) -> None:
        """So are those of the streams, which are counted from 0."""
        for row in vectors("secret_stream_namespaces"):
            for number, role in enumerate(("initiator", "responder", "send")):
                self.assertEqual(namespace(row["name"], number).hex(), row[role])

    def test_number(self) -> None:
        """A number is one byte."""
        for number in (-1, 256):
            self.assertRaises(ValueError, namespace, "label", number)
