"""Tests for ``spaceswarm_proxy.keepers``: the keeper of a key that is here."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from spaceswarm_proxy.crypto.keeper import Claim, proof_signable
from spaceswarm_proxy.crypto.keys import KeyPair, verify
from spaceswarm_proxy.crypto.noise import MAX_MESSAGE
from spaceswarm_proxy.crypto.profile import HYPERSWARM, SPACESWARM
from spaceswarm_proxy.errors import HandshakeError
from spaceswarm_proxy.interfaces import IKeeper, IKeptHandshake
from spaceswarm_proxy.keepers import OwnKeeper, keeper_of

OURS, THEIRS = OwnKeeper(KeyPair.from_seed(b"o" * 32)), OwnKeeper(KeyPair.from_seed(b"t" * 32))


class KeeperTests(SynchronousTestCase):
    """What it is, and what it signs."""

    def test_interfaces(self) -> None:
        """It is an ``IKeeper``, and so are its handshakes kept ones."""
        verifyObject(IKeeper, OURS)
        verifyObject(IKeptHandshake, OURS.handshake(SPACESWARM))

    def test_keeper_of(self) -> None:
        """A key pair gets a keeper; who is one stays who it is."""
        self.assertEqual(OURS.public_key, keeper_of(OURS.key_pair).public_key)
        self.assertIs(OURS, keeper_of(OURS))

    def test_signatures(self) -> None:
        """It signs at once, and what it signs is bound to what it is."""
        claim, challenge = Claim(b"a" * 32, b"n" * 32, b"t" * 32, OURS.public_key + b"\0"), b"c" * 32
        for signed, signable in (
            (OURS.sign(SPACESWARM, claim), claim.signable(SPACESWARM)),
            (OURS.prove(challenge), proof_signable(challenge)),
        ):
            self.assertTrue(verify(self.successResultOf(signed), signable, OURS.public_key))

    def test_nothing_in_common(self) -> None:
        """What proves a key can't be taken for what nodes believe, whatever a server makes up."""
        claim = Claim(b"a" * 32, b"n" * 32, b"t" * 32, OURS.public_key + b"\0")
        beginnings = {
            each[:32]
            for each in (
                proof_signable(bytes(32)),
                *(
                    claim._replace(withdrawn=withdrawn).signable(profile)
                    for profile in (SPACESWARM, HYPERSWARM)
                    for withdrawn in (False, True)
                ),
            )
        }
        self.assertEqual(5, len(beginnings))


class HandshakeTests(SynchronousTestCase):
    """Both messages, and what is out of turn."""

    def fails(self, done: object, kind: str) -> None:
        self.assertEqual(kind, self.failureResultOf(done, HandshakeError).value.kind)  # type: ignore[arg-type]

    def test_both(self) -> None:
        """Each message says what it should, and both sides agree; nothing follows that."""
        near, far = OURS.handshake(SPACESWARM, THEIRS.public_key), THEIRS.handshake(SPACESWARM)
        self.fails(near.read(b""), "out-of-turn")
        self.fails(far.write(b""), "out-of-turn")
        first = self.successResultOf(near.write(b"hello"))
        self.assertEqual((96 + 5, b"hello"), (len(first), self.successResultOf(far.read(first))))
        self.assertEqual((OURS.public_key, None), (far.remote_public_key, far.keys))
        second = self.successResultOf(far.write(b"you"))
        self.assertEqual((48 + 3, b"you"), (len(second), self.successResultOf(near.read(second))))
        assert near.keys is not None and far.keys is not None
        self.assertEqual((near.keys.hash, near.keys.send), (far.keys.hash, far.keys.receive))
        for handshake in (near, far):
            self.fails(handshake.read(second), "out-of-turn")
            self.fails(handshake.write(b""), "out-of-turn")
            handshake.close()

    def test_bad_messages(self) -> None:
        """What can't be read leaves everything as it was."""
        near, far = OURS.handshake(SPACESWARM, THEIRS.public_key), THEIRS.handshake(SPACESWARM)
        first = self.successResultOf(near.write(b""))
        for bad in (b"", first[:-1], first[::-1], bytes(96), bytes(MAX_MESSAGE + 1)):
            self.failureResultOf(far.read(bad), HandshakeError)
        self.assertEqual(b"", self.successResultOf(far.read(first)))

    def test_other_network(self) -> None:
        """A message of another network is none."""
        first = self.successResultOf(OURS.handshake(HYPERSWARM, THEIRS.public_key).write(b""))
        self.fails(THEIRS.handshake(SPACESWARM).read(first), "bad-tag")

    def test_not_written(self) -> None:
        """To a key that is none nothing can be written, nor more than a message holds; another try is another's."""
        self.fails(OURS.handshake(SPACESWARM, bytes(32)).write(b""), "bad-key")
        near = OURS.handshake(SPACESWARM, THEIRS.public_key)
        self.fails(near.write(bytes(MAX_MESSAGE)), "too-long")
        self.successResultOf(near.write(bytes(MAX_MESSAGE - 96)))
