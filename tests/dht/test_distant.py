"""Keys that are kept elsewhere, as the cores know them: :mod:`spaceswarm_proxy.dht.distant`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import Claim, DistantKeys, OwnKeys
from spaceswarm_proxy.crypto.keys import KeyPair
from spaceswarm_proxy.crypto.noise import Handshake
from spaceswarm_proxy.crypto.profile import SPACESWARM
from spaceswarm_proxy.dht.distant import ANSWER_TIMEOUT, OVERHEAD, Keepers
from spaceswarm_proxy.errors import HandshakeError, LinkLostError, SpaceswarmError
from tests.keepers import FakeKeeper

OURS, THEIRS = KeyPair.from_seed(b"o" * 32), KeyPair.from_seed(b"t" * 32)
CLAIM = Claim(bytes(32), bytes(32), b"token", THEIRS.public_key + b"\x00")


class DistantTestCase(SynchronousTestCase):
    """A keeper, asked by a core."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.keepers = Keepers(self.clock, self.soon)
        self.fake = FakeKeeper(OURS, self.clock)
        self.keeper = self.keepers.keeper(self.fake)
        #: What the core was told, and when.
        self.told: list[tuple[Any, float]] = []
        self.turns = 0

    def soon(self, function: Callable[[float], None]) -> None:
        def turn() -> None:
            self.turns += 1
            function(self.clock.seconds())

        self.clock.callLater(0, turn)

    def done(self, answer: bytes | SpaceswarmError, now: float) -> None:
        self.told.append((answer, now))

    def sign(self) -> None:
        self.keeper.sign(SPACESWARM, CLAIM, self.done, 0.0)

    def answer(self) -> Any:
        """What the core is told, and nothing else; no timer is left."""
        self.clock.advance(0)
        [(answer, _)] = self.told
        self.told.clear()
        self.assertEqual((0, []), (len(self.keepers), self.clock.getDelayedCalls()))
        return answer


class AnswerTests(DistantTestCase):
    """How a core is told."""

    def test_own(self) -> None:
        """A key pair of our own needs nothing of that."""
        self.assertIsInstance(self.keepers.keeper(OURS), OwnKeys)

    def test_signature(self) -> None:
        """A signature is told in a turn of its own, though it was there at once."""
        self.sign()
        self.assertEqual([], self.told)
        self.assertEqual((OURS.sign(CLAIM.signable(SPACESWARM)), 1), (self.answer(), self.turns))
        self.assertEqual(OURS.public_key, self.keeper.public_key)

    def test_later(self) -> None:
        """It is told when it comes, with the time."""
        self.fake.delay = 3.0
        self.sign()
        self.clock.advance(3)
        self.clock.advance(0)
        self.assertEqual([3.0], [now for _, now in self.told])

    def test_never(self) -> None:
        """A keeper who says nothing is waited for so long, and no longer."""
        self.fake.silent.add("sign")
        self.sign()
        self.clock.advance(ANSWER_TIMEOUT - 0.1)
        self.assertEqual(([], 1), (self.told, len(self.keepers)))
        self.clock.advance(0.1)
        self.assertIsInstance(self.answer(), SpaceswarmError)

    def test_after_the_end(self) -> None:
        """What comes after that does not matter."""
        late: Deferred[bytes] = Deferred()
        self.keepers.ask(lambda: late, self.done)
        self.clock.advance(ANSWER_TIMEOUT)
        self.answer()
        late.callback(b"late")
        self.clock.advance(0)
        self.assertEqual([], self.told)

    def test_errors(self) -> None:
        """Errors of ours are told as they are; others as ours, and logged once."""
        problem = LinkLostError()
        self.fake.failing["sign"] = problem
        self.sign()
        self.assertIs(problem, self.answer())
        self.fake.failing["sign"] = ZeroDivisionError("broken")
        self.sign()
        answer = self.answer()
        self.assertEqual((SpaceswarmError, "broken"), (type(answer), str(answer)))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_raised(self) -> None:
        """So are those that are raised when the keeper is asked, or a handshake begun."""
        problem = LinkLostError()

        def away(*arguments: Any) -> Any:
            raise problem

        self.patch(self.fake, "handshake", away)
        handshake = self.keeper.handshake(SPACESWARM, THEIRS.public_key)
        handshake.write(b"", self.done, 0.0)
        self.assertIs(problem, self.answer())
        self.assertEqual((None, None), (handshake.remote_public_key, handshake.keys))
        handshake.close()

    def test_no_signature(self) -> None:
        """What has another length than a signature is none."""
        self.fake.lies["sign"] = lambda answer: answer + b"\x00"
        self.sign()
        self.assertIsInstance(self.answer(), SpaceswarmError)

    def test_closed(self) -> None:
        """A node that is closed waits for nobody, and nothing is left."""
        self.fake.silent.add("sign")
        self.sign()
        self.keepers.close()
        self.clock.advance(ANSWER_TIMEOUT)
        self.assertEqual(([], 0, []), (self.told, len(self.keepers), self.clock.getDelayedCalls()))


class HandshakeTests(DistantTestCase):
    """Messages of handshakes."""

    def test_whole(self) -> None:
        """Both messages, and what they come to."""
        remote = Handshake("IK", False, THEIRS, prologue=SPACESWARM.peer_handshake)
        handshake = self.keeper.handshake(SPACESWARM, THEIRS.public_key)
        handshake.write(b"hello", self.done, 0.0)
        message = self.answer()
        self.assertEqual((b"hello", len(b"hello") + OVERHEAD), (remote.read(message), len(message)))
        handshake.read(remote.write(b"you"), self.done, 0.0)
        self.assertEqual(b"you", self.answer())
        keys: Any = handshake.keys
        assert remote.keys is not None
        self.assertEqual(DistantKeys(remote.keys.hash, THEIRS.public_key, 1), keys)
        self.assertEqual(THEIRS.public_key, handshake.remote_public_key)

    def test_several(self) -> None:
        """Several messages may be read at the same time: each has its answer."""
        remote = Handshake("IK", False, THEIRS, prologue=SPACESWARM.peer_handshake)
        handshake = self.keeper.handshake(SPACESWARM, THEIRS.public_key)
        handshake.write(b"", self.done, 0.0)
        remote.read(self.answer())
        self.fake.delay = 1.0
        for message in (b"bad", remote.write(b"good")):
            handshake.read(message, self.done, 0.0)
        self.clock.advance(1)
        self.clock.advance(0)
        [(bad, _), (good, _)] = self.told
        self.assertEqual((HandshakeError, b"good"), (type(bad), good))

    def test_too_long(self) -> None:
        """A keeper can't make us send what is longer than such a message, nor believe what was not in one."""
        for what, ask in (
            ("write", lambda handshake: handshake.write(b"", self.done, 0.0)),
            ("read", lambda handshake: handshake.read(b"short", self.done, 0.0)),
        ):
            self.patch(self.fake, "answer", lambda what, truly: succeed(bytes(OVERHEAD + 1)))
            ask(self.keeper.handshake(SPACESWARM, THEIRS.public_key))
            self.assertIsInstance(self.answer(), HandshakeError, what)

    def test_unsound(self) -> None:
        """What can't be a key, or the hash of a handshake, is none."""
        handshake = self.keeper.handshake(SPACESWARM, THEIRS.public_key)
        handshake.write(b"", self.done, 0.0)
        self.answer()
        kept = self.fake.handshakes[1]
        for keys in (DistantKeys(bytes(63), bytes(32), 1), DistantKeys(bytes(64), bytes(31), 1), None):
            kept.lies["keys"] = partial(self.instead, keys)
            self.assertIsNone(handshake.keys)
        kept.lies["remote_public_key"] = partial(self.instead, bytes(33))
        self.assertIsNone(handshake.remote_public_key)

    def instead(self, lie: Any, truth: Any) -> Any:
        return lie

    def test_closed(self) -> None:
        """Of a handshake that is closed nothing is told any more; the keeper knows it, and may fail for all we care."""
        for broken, is_answered in ((False, False), (False, True), (True, False)):
            self.fake.silent = set() if is_answered else {"write"}
            handshake = self.keeper.handshake(SPACESWARM, THEIRS.public_key)
            handshake.write(b"", self.done, 0.0)
            kept = list(self.fake.handshakes.values())[-1]
            if broken:
                self.patch(kept, "close", lambda: 1 // 0)
            handshake.close()
            self.clock.advance(ANSWER_TIMEOUT)
            self.assertEqual(([], not broken), (self.told, kept.closed))
            self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
