"""Whoever keeps a secret key: :mod:`spaceswarm_proxy.crypto.keeper`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import MAX_RECORD, TOKEN_LENGTH, Claim, OwnHandshake, OwnKeys
from spaceswarm_proxy.crypto.keys import KeyPair, verify
from spaceswarm_proxy.crypto.noise import Handshake, SessionKeys
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.errors import HandshakeError

OURS, THEIRS = KeyPair.from_seed(b"o" * 32), KeyPair.from_seed(b"t" * 32)
CLAIM = Claim(b"a" * 32, b"b" * 32, b"t" * 32, OURS.public_key + b"\x00")


class ClaimTests(SynchronousTestCase):
    """What is signed; that it is what JavaScript signs is in :mod:`tests.dht.test_values`."""

    def test_bound(self) -> None:
        """A signature is for one network and one of the two things that can be said in it."""
        signables = {
            claim.signable(profile)
            for profile in (SPACESWARM, HYPERSWARM)
            for claim in (CLAIM, CLAIM._replace(withdrawn=True))
        }
        self.assertEqual((4, {64}), (len(signables), set(map(len, signables))))

    def test_sound(self) -> None:
        """What is signed has parts of the lengths that they must have."""
        self.assertTrue(CLAIM.is_sound)
        for length in (32, MAX_RECORD):
            self.assertTrue(CLAIM._replace(record=bytes(length)).is_sound, length)
        for name, lengths in (
            ("target", (0, 31, 33)),
            ("node_id", (0, 31, 33)),
            ("token", (0, 1, TOKEN_LENGTH - 1, TOKEN_LENGTH + 1, 64)),
            ("record", (0, 31, MAX_RECORD + 1)),
        ):
            for length in lengths:
                self.assertFalse(CLAIM._replace(**{name: bytes(length)}).is_sound, (name, length))


class OwnKeysTests(SynchronousTestCase):
    """With a key pair of our own everybody is told at once."""

    def setUp(self) -> None:
        self.keys = OwnKeys(OURS)
        self.told: list[Any] = []
        self.remote = Handshake("IK", False, THEIRS, prologue=SPACESWARM.peer_handshake)

    def done(self, answer: Any, now: float) -> None:
        self.told.append(answer)
        self.assertEqual(3.0, now)

    def answer(self) -> Any:
        [answer] = self.told
        self.told.clear()
        return answer

    def test_sign(self) -> None:
        """What it signs, it has signed."""
        self.keys.sign(SPACESWARM, CLAIM, self.done, 3.0)
        self.assertTrue(verify(self.answer(), CLAIM.signable(SPACESWARM), self.keys.public_key))

    def test_first(self) -> None:
        """Whoever speaks first knows with whom, and after a bad answer takes a good one; after that, none."""
        handshake = self.keys.handshake(SPACESWARM, THEIRS.public_key)
        handshake.write(b"hello", self.done, 3.0)
        self.assertEqual(b"hello", self.remote.read(self.answer()))
        message = self.remote.write(b"you")
        for data, expected in ((b"bad", HandshakeError), (message, bytes), (message, HandshakeError)):
            handshake.read(data, self.done, 3.0)
            self.assertIsInstance(self.answer(), expected)
        self.assertEqual(THEIRS.public_key, handshake.remote_public_key)
        self.assertAgreed(handshake, self.remote)

    def test_second(self) -> None:
        """Whoever speaks second learns with whom."""
        remote = Handshake(
            "IK", True, THEIRS, remote_public_key=OURS.public_key, prologue=SPACESWARM.peer_handshake
        )  # fmt: skip
        handshake = self.keys.handshake(SPACESWARM)
        self.assertIsNone(handshake.remote_public_key)
        handshake.read(remote.write(b"hello"), self.done, 3.0)
        self.assertEqual((b"hello", THEIRS.public_key), (self.answer(), handshake.remote_public_key))
        handshake.write(b"you", self.done, 3.0)
        self.assertEqual(b"you", remote.read(self.answer()))
        self.assertAgreed(handshake, remote)
        handshake.close()

    def assertAgreed(self, handshake: OwnHandshake, remote: Handshake) -> None:
        ours, theirs = handshake.keys, remote.keys
        assert isinstance(ours, SessionKeys) and theirs is not None
        self.assertEqual((ours.send, ours.receive, ours.hash), (theirs.receive, theirs.send, theirs.hash))

    def test_no_key(self) -> None:
        """A server's key that is none is told when it is written to."""
        self.keys.handshake(SPACESWARM, b"\xff" * 32).write(b"", self.done, 3.0)
        self.assertIsInstance(self.answer(), HandshakeError)
