"""Messages beside the encrypted stream: :mod:`spaceswarm_proxy.crypto.datagram_box`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.datagram_box import OVERHEAD, BoxOpener, BoxSealer, sending_key
from spaceswarm_proxy.errors import LimitError
from tests.crypto.connect_vectors import VECTORS

HASH = bytes(range(64))


def ends(vector: dict[str, Any], initiator: bool) -> tuple[BoxSealer, BoxOpener]:
    """Who seals, with the counter of the vector, and who opens."""
    hash, label = bytes.fromhex(vector["handshakeHash"]), vector["streamString"]
    first = int.from_bytes(bytes.fromhex(vector["unordered"]["initialCounter"]), "little")
    return BoxSealer(hash, label, initiator, first), BoxOpener(hash, label, not initiator)


class VectorTests(SynchronousTestCase):
    """What the reference seals."""

    def test_keys(self) -> None:
        """Each side has a key of its own under each label."""
        for name, vector in VECTORS["secretStream"].items():
            hash, label = bytes.fromhex(vector["handshakeHash"]), vector["streamString"]
            for initiator, side in ((True, "initiator"), (False, "responder")):
                expected = vector["unordered"][side + "SendKey"]
                self.assertEqual(expected, sending_key(hash, label, initiator).hex(), name)

    def test_both_ways(self) -> None:
        """Ours are the same byte for byte, and theirs are opened."""
        for name, vector in VECTORS["secretStream"].items():
            for initiator, side in ((True, "initiator"), (False, "responder")):
                sealer, opener = ends(vector, initiator)
                for case in vector["unordered"][side + "Messages"]:
                    message, sealed = bytes.fromhex(case["plaintext"]), bytes.fromhex(case["message"])
                    self.assertEqual(sealed, sealer.seal(message), name)
                    self.assertEqual(message, opener.open(sealed), name)


class BoxTests(SynchronousTestCase):
    """What holds of all messages."""

    def setUp(self) -> None:
        self.sealer, self.opener = BoxSealer(HASH, "a label", True), BoxOpener(HASH, "a label", False)

    @settings(deadline=None, max_examples=50)
    @given(st.binary(max_size=1300))
    def test_any(self, message: bytes) -> None:
        """Whatever is sealed can be opened, any number of times, and is so many bytes longer."""
        sealer, opener = BoxSealer(HASH, "a label", False), BoxOpener(HASH, "a label", True)
        sealed = sealer.seal(message)
        self.assertEqual(len(message) + OVERHEAD, len(sealed))
        self.assertEqual([message, message], [opener.open(sealed), opener.open(sealed)])

    def test_any_order(self) -> None:
        """What was overtaken or lost does not matter to the others."""
        sealed = [self.sealer.seal(bytes([number])) for number in range(5)]
        self.assertEqual([b"\x04", b"\x00", b"\x02"], [self.opener.open(sealed[number]) for number in (4, 0, 2)])

    @settings(deadline=None, max_examples=100)
    @given(st.data())
    def test_damage(self, data: st.DataObject) -> None:
        """With one byte changed, or some of them missing, there is nothing."""
        sealed = bytearray(BoxSealer(HASH, "a label", True).seal(b"hello"))
        opener = BoxOpener(HASH, "a label", False)
        self.assertIsNone(opener.open(bytes(sealed[: data.draw(st.integers(0, len(sealed) - 1))])))
        sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
        self.assertIsNone(opener.open(bytes(sealed)))

    def test_not_ours(self) -> None:
        """Nobody opens his own, those of another label or another handshake; nor what is of any other kind."""
        sealed = self.sealer.seal(b"hello")
        for opener in (
            BoxOpener(HASH, "a label", True),
            BoxOpener(HASH, "another", False),
            BoxOpener(bytes(64), "a label", False),
        ):
            self.assertIsNone(opener.open(sealed))
        self.assertIsNone(self.opener.open(b""))

    def test_counter_is_anywhere(self) -> None:
        """Two sealers of one session do not begin with the same counter."""
        self.assertNotEqual(self.sealer.seal(b"")[:8], BoxSealer(HASH, "a label", True).seal(b"")[:8])

    def test_exhausted(self) -> None:
        """When the counter has come round, nothing is sealed any more: the key would give itself away."""
        sealer = BoxSealer(HASH, "a label", True, first=7)
        sealer._counter = 5
        self.assertEqual(b"last", self.opener.open(sealer.seal(b"last")))
        for _ in range(2):
            problem = self.assertRaises(LimitError, sealer.seal, b"one more")
            self.assertEqual("max_messages", problem.name)
