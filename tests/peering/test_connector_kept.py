"""A client's attempt with a key that is kept elsewhere: ``connector``, ``search`` and ``client_handshake``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import DistantKeys
from spaceswarm_proxy.errors import (
    BadHandshakeReplyError,
    HandshakeError,
    HandshakeInvalidError,
    LinkLostError,
    PeerConnectionFailedError,
    ServerFailedError,
    SpaceswarmError,
    SuspendedError,
)
from spaceswarm_proxy.peering.noise_payload import Firewall
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.peering.patient_keys import PatientKeys
from tests.peering.strangers import SERVER_ADDRESS, Shake, Strangers, answering, server_payload

#: A server that the client then goes to: that is all.
GOOD = answering(server_payload(firewall=Firewall.OPEN))
NOTHING = (0, 0, 0, 0)
#: What is waited for, one after the other.
STAGES = ("write", "read")


class KeptTestCase(SynchronousTestCase):
    """A client among strangers, whose key is elsewhere."""

    def begin(self, *shakes: Shake, stage: str = "read") -> None:
        """Connect, as far as this."""
        self.keys = PatientKeys(CLIENT)
        self.net = Strangers(*shakes or (GOOD, GOOD, GOOD), keys=self.keys)
        self.log = self.net.connect()
        if stage == "read":
            self.answer("write")
            self.net.world.run_until(lambda: bool(self.keys.questions), 20)

    def answer(self, name: str, problem: SpaceswarmError | None = None, which: int = 0) -> Callable[[], None]:
        """Whoever keeps the key answers.  :returns: what makes him say it again."""
        self.assertEqual({name}, set(self.keys.waiting))
        question = self.keys.answer(self.now, problem, which)
        self.net.host.plan()
        return lambda: question.answer(self.now, problem)

    @property
    def now(self) -> float:
        return self.net.world.now

    def wait(self, seconds: float = 60.0) -> None:
        self.net.world.run_until(lambda: bool(self.log.results), seconds)

    def assertNothing(self, what: Any) -> None:
        """Nothing is left of the attempt, and the keeper knows."""
        self.assertEqual((NOTHING, [1]), (self.net.left, self.keys.closed), what)


class LaterTests(KeptTestCase):
    """Everything comes in its time."""

    def test_all(self) -> None:
        """There is a connection when the last of it has come; whoever has the keys is not told to forget them."""
        self.begin(stage="write")
        self.net.world.run(30)
        self.assertEqual([], [relay.messages for relay in self.net.relays if relay.messages])
        self.answer("write")
        self.net.world.run(30)
        self.assertEqual([], self.log.results)
        self.answer("read")
        keys = self.log.connection.keys
        self.assertEqual((DistantKeys, SERVER.public_key, 77), (type(keys), keys.remote_public_key, keys.number))
        self.assertEqual((1, 0, 0, 0), self.net.left)
        self.assertEqual([0], self.keys.closed)
        self.log.connection.abandon()
        self.assertEqual([1], self.keys.closed)

    def test_at_once(self) -> None:
        """It is all the same when nothing takes time."""
        self.begin(stage="write")
        self.keys.at_once["read"] = None
        self.answer("write")
        self.wait()
        self.assertEqual(SERVER.public_key, self.log.connection.remote_public_key)
        self.assertEqual([0], self.keys.closed)

    def test_first_read(self) -> None:
        """Of several answers that are being read, the one that is read first is the one, whichever came first."""
        for which in (0, 1):
            self.begin()
            self.net.world.run(5)
            self.assertEqual(["read"] * 2, self.keys.waiting)
            self.answer("read", which=which)
            self.assertEqual(1, len(self.log.results))
            self.answer("read")
            self.assertEqual((1, [0]), (len(self.log.results), self.keys.closed))
            self.assertEqual(SERVER_ADDRESS, self.log.connection.address)

    def test_bad_one(self) -> None:
        """One that can't be read leads on to the next node, and no others are asked until then."""
        self.begin()
        self.net.world.run(30)
        self.assertEqual(2, sum(len(relay.messages) for relay in self.net.relays))
        self.answer("read", HandshakeError("bad-tag"))
        self.net.world.run_until(lambda: len(self.keys.questions) == 2, 5)
        self.answer("read", which=1)
        self.assertEqual((1, [0]), (len(self.log.results), self.keys.closed))

    def test_all_bad(self) -> None:
        """When none can be read, the server was not reached."""
        self.begin()
        self.keys.at_once["read"] = HandshakeError("bad-tag")
        while self.keys.questions:
            self.answer("read", HandshakeError("bad-tag"))
        self.wait()
        self.assertIsInstance(self.log.problem, PeerConnectionFailedError)
        self.assertNothing("all bad")

    def test_twice(self) -> None:
        """What is told twice counts once."""
        self.begin(stage="write")
        again = self.answer("write")
        again()
        self.net.world.run_until(lambda: bool(self.keys.questions), 20)
        again_read = self.answer("read")
        again()
        again_read()
        self.assertEqual((1, (1, 0, 0, 0)), (len(self.log.results), self.net.left))


class NothingTests(KeptTestCase):
    """It comes to nothing."""

    def test_errors(self) -> None:
        """What the keeper fails with is what the attempt fails with; a server's key that is none has its own name."""
        for stage, problem, expected in (
            ("write", HandshakeError("bad-key"), HandshakeInvalidError),
            ("write", LinkLostError(), LinkLostError),
            ("read", LinkLostError(), LinkLostError),
        ):
            self.begin(stage=stage)
            self.answer(stage, problem)
            self.assertIsInstance(self.log.problem, expected)
            self.assertNothing((stage, problem))

    def test_refused(self) -> None:
        """What the server says against it ends it, when it was read."""
        self.begin(answering(server_payload(error=1)))
        self.answer("read")
        self.assertIsInstance(self.log.problem, ServerFailedError)
        self.assertNothing("refused")

    def test_over(self) -> None:
        """Cancelled, or suspended, at whatever stage: all is over at once, and what comes later is nobody's."""
        for stage in STAGES:
            for end in (self.cancel, self.suspend):
                self.begin(stage=stage)
                end()
                self.assertNothing((stage, end))
                told = len(self.log.results)
                self.answer(stage)
                self.answer_all()
                self.net.world.run(30)
                self.assertNothing((stage, end))
                self.assertEqual(told, len(self.log.results))

    def cancel(self) -> None:
        self.log.cancel()

    def suspend(self) -> None:
        self.net.host.peering.suspend(lambda now: None, self.now)
        self.assertIsInstance(self.log.problem, SuspendedError)

    def answer_all(self) -> None:
        while self.keys.questions:
            self.answer(self.keys.waiting[0])

    def test_never(self) -> None:
        """Who waits for a keeper that never answers can give it up at any time; nothing happens meanwhile."""
        for stage in STAGES:
            self.begin(stage=stage)
            self.net.world.run(300)
            self.assertEqual([], self.log.results)
            self.log.cancel()
            self.assertNothing(stage)

    def test_somebody_else(self) -> None:
        """A keeper that names another server in the end has no connection with this one; nor one that names none."""
        other = DistantKeys(bytes(64), b"\x05" * 32, 1)
        for lie in ({"keys_told": other}, {"says_nothing": True}):
            self.begin()
            self.keys.at_once["read"] = None
            for name, value in lie.items():
                setattr(self.keys.handshakes[0], name, value)
            self.answer_all()
            self.wait()
            self.assertIsInstance(self.log.problem, (PeerConnectionFailedError, BadHandshakeReplyError))
            self.assertNothing(lie)
