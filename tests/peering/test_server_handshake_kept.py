"""One handshake of a server whose key is kept elsewhere: :mod:`spaceswarm_proxy.peering.server_handshake`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.crypto.keeper import DistantKeys
from spaceswarm_proxy.errors import HandshakeError, LinkLostError, SpaceswarmError
from spaceswarm_proxy.peering.admission import AdmissionLimits
from spaceswarm_proxy.peering.noise_payload import HandshakeCode
from spaceswarm_proxy.peering.server_handshake import CLEAR_WAIT, INITIAL_TIMEOUT, MAX_REPETITIONS
from tests.crypto.connect_vectors import CLIENT, SERVER
from tests.peering.door import Door, Knock
from tests.peering.patient_keys import PatientKeys, Question

NOTHING = (0, 0, 0)
#: What is waited for, one after the other.
STAGES = ("read", "decide", "write")


class KeptTestCase(SynchronousTestCase):
    """A door whose key is elsewhere, and a doorkeeper who takes his time."""

    def begin(self, stage: str = "read", relayed: bool = False, knock: Knock | None = None, **options: Any) -> None:
        """A client comes; it gets as far as this."""
        self.keys = PatientKeys(SERVER)
        self.asked: list[bytes] = []
        self.door = Door(keys=self.keys, firewall=self.firewall, **options)
        self.knock = knock or Knock()
        self.come = self.door.relayed if relayed else self.door.direct
        self.come(self.knock.message)
        self.go_to(stage)

    def firewall(self, key: bytes, payload: Any, address: bytes, decide: Any, now: float) -> None:
        self.asked.append(key)
        self.decide = decide

    def go_to(self, stage: str) -> None:
        for each in STAGES[: STAGES.index(stage)]:
            self.go_on(each)

    def go_on(self, stage: str, problem: SpaceswarmError | None = None) -> Callable[[], None]:
        """What is waited for comes.  :returns: what makes it come again."""
        if stage == "decide":
            self.decide(False, self.now)
            return lambda: self.decide(False, self.now)
        self.assertEqual([stage], self.keys.waiting)
        question: Question = self.keys.answer(self.now, problem)
        return lambda: question.answer(self.now, problem)

    @property
    def now(self) -> float:
        return self.door.world.now

    def assertNothing(self, what: Any) -> None:
        """Nobody was let in or answered, no socket or stream is left, and the keeper knows."""
        self.assertEqual(([], [], NOTHING), (self.door.answers(), self.door.log.connections, self.door.left), what)
        self.assertEqual([1], self.keys.closed, what)


class LaterTests(KeptTestCase):
    """Everything comes in its time."""

    def test_all(self) -> None:
        """The client is answered when the last of it has come; whoever has the keys is not told to forget them."""
        for relayed in (False, True):
            self.begin(relayed=relayed)
            for stage in STAGES:
                self.assertEqual(([], []), (self.door.answers(), self.door.log.connections), stage)
                self.door.run(2)
                self.go_on(stage)
            [(_, _, answer)] = self.door.answers()
            self.assertEqual(HandshakeCode.NONE, self.knock.read(answer).error)
            if relayed:
                [stream] = self.door.host.streams.by_id
                self.door.packet(stream, b"\x58\x01\x02\x03\x11\x11", 0)
            [connection] = self.door.log.connections
            self.assertEqual(DistantKeys(self.knock.keys.hash, CLIENT.public_key, 77), connection.keys)
            self.door.run(CLEAR_WAIT + 1)
            self.assertEqual(([0], 0), (self.keys.closed, len(self.door.listener)))

    def test_asked(self) -> None:
        """The firewall is asked when it is known who comes, and not before."""
        self.begin()
        self.assertEqual([], self.asked)
        self.go_on("read")
        self.assertEqual([CLIENT.public_key], self.asked)

    def test_abandoned(self) -> None:
        """Whoever has the connection and does not want it tells the keeper so."""
        self.begin("write")
        self.go_on("write")
        [connection] = self.door.log.connections
        connection.abandon()
        self.assertEqual([1], self.keys.closed)

    def test_told_why(self) -> None:
        """A client of another version is told so; of the keys nothing comes."""
        self.begin("write", knock=Knock(version=2))
        self.go_on("write")
        [(_, _, answer)] = self.door.answers()
        self.assertEqual(HandshakeCode.VERSION_MISMATCH, self.knock.read(answer).error)
        self.assertNothing("version")

    def test_repeated(self) -> None:
        """However often the message comes meanwhile, it is read once, and all are answered, up to a limit."""
        for stage in STAGES:
            self.begin(stage)
            for _ in range(MAX_REPETITIONS + 5):
                self.come(self.knock.message)
            for each in STAGES[STAGES.index(stage) :]:
                self.go_on(each)
            self.assertEqual(MAX_REPETITIONS, len(self.door.answers()), stage)
            self.assertEqual((2, 1), (self.keys.asked, len(self.door.log.connections)), stage)

    def test_twice(self) -> None:
        """What is told twice counts once."""
        for stage in STAGES:
            self.begin(stage)
            again = self.go_on(stage)
            again()
            for each in STAGES[STAGES.index(stage) + 1 :]:
                self.go_on(each)
                again()
            self.assertEqual((1, 1), (len(self.door.answers()), len(self.door.log.connections)), stage)
            self.assertEqual([0], self.keys.closed)


class NothingTests(KeptTestCase):
    """It comes to nothing."""

    def test_never(self) -> None:
        """What does not come in time ends it; when it comes later, that does not matter, nor is anything left then."""
        for stage in STAGES:
            self.begin(stage)
            self.assertEqual(1, self.door.listener.admission.pending)
            self.door.run(INITIAL_TIMEOUT + 0.1)
            self.assertNothing(stage)
            self.go_on(stage)
            self.assertNothing(stage)
            self.door.run(CLEAR_WAIT)
            self.assertEqual((0, []), (len(self.door.listener), self.keys.waiting), stage)

    def test_in_all(self) -> None:
        """The time is for all of it, not for each part."""
        self.begin()
        for stage in STAGES[:2]:
            self.door.run(0.4 * INITIAL_TIMEOUT)
            self.go_on(stage)
        self.door.run(0.3 * INITIAL_TIMEOUT)
        self.go_on("write")
        self.assertNothing("in all")

    def test_cannot_be_read(self) -> None:
        """What can't be read, or not now, is forgotten at once: when it comes again, it is tried again."""
        for problem in (HandshakeError("bad-tag"), LinkLostError()):
            self.begin()
            self.go_on("read", problem)
            self.assertNothing(problem)
            self.assertEqual((0, []), (len(self.door.listener), self.asked))
            self.come(self.knock.message)
            self.assertEqual(["read"], self.keys.waiting)

    def test_bad_payload(self) -> None:
        """The same with a message that carries nothing that makes sense."""
        self.begin()
        self.keys.questions.clear()
        self.door.listener._by_id[0].destroy(self.now)
        self.come(Knock.carrying(b"\x01\x18"))
        self.go_on("read")
        self.assertEqual(([1, 1], [], 0), (self.keys.closed, self.asked, len(self.door.listener)))

    def test_cannot_be_written(self) -> None:
        """Without an answer there is no stream; repetitions are not answered either."""
        for problem in (HandshakeError("bad-key"), LinkLostError()):
            self.begin("write")
            self.go_on("write", problem)
            self.come(self.knock.message)
            self.assertNothing(problem)

    def test_refused(self) -> None:
        """For whoever is refused nothing is written."""
        self.begin("decide")
        self.decide(True, self.now)
        self.assertNothing("refused")
        self.assertEqual([], self.keys.waiting)

    def test_gone(self) -> None:
        """When the server goes meanwhile, for good or for a while, all is over, and what comes does not matter."""
        for stage in STAGES:
            for go in ("close", "suspend"):
                self.begin(stage)
                getattr(self.door.listener, go)(lambda now: None, self.now)
                self.assertNothing((stage, go))
                self.go_on(stage)
                self.assertNothing((stage, go))
                self.assertEqual(0, len(self.door.listener))

    def test_no_streams(self) -> None:
        """Where there can be no stream nothing is written."""
        self.begin("decide")
        self.door.host.streams.most = 0
        self.go_on("decide")
        self.assertNothing("streams")

    def test_somebody_else(self) -> None:
        """A keeper that names another client in the end than the one who was judged lets nobody in."""
        self.begin()
        self.keys.handshakes[0].remote_public_key_told = b"\x05" * 32
        for stage in STAGES:
            self.go_on(stage)
        self.assertEqual([b"\x05" * 32], self.asked)
        self.assertNothing("somebody else")

    def test_nobody(self) -> None:
        """Nor does one that does not say who that is, or to what it has come."""
        for stage in ("read", "write"):
            self.begin(stage)
            self.keys.handshakes[0].says_nothing = True
            self.go_on(stage)
            self.assertNothing(stage)


class FloodTests(KeptTestCase):
    """The keeper is not asked more than may be."""

    def test_flood(self) -> None:
        """What is refused at the door is no matter of the keeper's, who may be busy enough."""
        limits = AdmissionLimits(max_pending_of_host=5)
        self.begin(limits=limits)
        for _ in range(50):
            self.come(Knock().message)
        self.assertEqual(5, len(self.keys.waiting))
        self.door.run(INITIAL_TIMEOUT + CLEAR_WAIT + 1)
        self.assertEqual((NOTHING, 0, [1] * 5), (self.door.left, len(self.door.listener), self.keys.closed))
