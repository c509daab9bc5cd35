"""Keeping a server to be found whose key is kept elsewhere: :mod:`spaceswarm_proxy.peering.announcer`."""

from __future__ import annotations

from spaceswarm_proxy.errors import LinkLostError
from spaceswarm_proxy.peering.announcer import RELAYS, RENEWAL, Announcer
from spaceswarm_proxy.peering.pulse import ROUND
from spaceswarm_proxy.peering.signing import SIGNING_TIMEOUT
from tests.crypto.connect_vectors import SERVER
from tests.peering.patient_keys import PatientKeys
from tests.peering.test_announcer import UPDATE, AnnouncerTestCase

AWAY = LinkLostError()


class KeptTestCase(AnnouncerTestCase):
    """A server behind an address translation, in a small network; whoever keeps its key signs when he likes."""

    def setUp(self) -> None:
        super().setUp()
        self.keys = PatientKeys(SERVER)
        room = self.host.peering.room
        self.announcer = Announcer(self.host.core, room.schedule, room.pulses, self.keys)

    def sign_at_once(self, problem: LinkLostError | None = None) -> None:
        self.keys.at_once["sign"] = problem

    def begin(self) -> None:
        """As far as what is to be signed first."""
        self.call(self.announcer.start, self.updated.append)
        self.world.run_until(lambda: len(self.keys.questions) == RELAYS, 20)

    def sign(self, count: int = RELAYS, problem: LinkLostError | None = None) -> None:
        for _ in range(count):
            self.call(lambda now: self.keys.answer(now, problem))

    def assertClean(self, when: object) -> None:
        schedule, asking = len(self.host.peering.room.schedule), len(self.announcer._asking)
        self.assertEqual((0, 0), (schedule, asking), when)


class SigningTests(KeptTestCase):
    """What is signed is announced."""

    def test_later(self) -> None:
        """Nothing is asked before it is signed; then all relays are told."""
        self.begin()
        self.world.run(0.5 * SIGNING_TIMEOUT)
        self.assertEqual(([], set()), (self.updated, self.known_to()))
        self.sign()
        self.world.run(1)
        self.assertEqual((1, RELAYS), (len(self.updated), len(self.known_to())))
        self.assertEqual(self.known_to(), self.relays())

    def test_some(self) -> None:
        """Those for which it is signed in time are told, when the time is up; what is signed later is not."""
        self.begin()
        self.sign(1)
        self.sign(1, AWAY)
        self.world.run(SIGNING_TIMEOUT + 1)
        self.assertEqual((1, 1), (len(self.updated), len(self.known_to())))
        self.sign(1)
        self.world.run(1)
        self.assertEqual((1, 1), (len(self.updated), len(self.relays())))

    def test_none(self) -> None:
        """Without a signature nobody is told; that is tried again, until somebody signs."""
        for never in (False, True):
            self.setUp()
            self.begin()
            if not never:
                self.sign(problem=AWAY)
            self.world.run_until(lambda: bool(self.updated), SIGNING_TIMEOUT + 1)
            self.assertEqual((set(), ()), (self.known_to(), self.announcer.relays))
            self.sign_at_once()
            self.world.run(2 * ROUND + UPDATE)
            self.assertEqual((1, RELAYS), (len(self.updated), len(self.known_to())), never)

    def test_away_for_a_while(self) -> None:
        """Who can't renew what he has announced does so when he can."""
        self.sign_at_once()
        self.start()
        self.sign_at_once(AWAY)
        self.world.run(RENEWAL + UPDATE)
        self.assertEqual((), self.announcer.relays)
        self.sign_at_once()
        self.world.run(60 + UPDATE)
        self.assertEqual((RELAYS, self.relays()), (len(self.relays()), self.known_to()))

    def test_twice(self) -> None:
        """What is signed twice is announced once."""
        self.begin()
        questions = list(self.keys.questions)
        self.sign()
        for question in questions:
            self.call(question.answer)
        self.world.run(2)
        self.assertEqual((1, RELAYS), (len(self.updated), len(self.announcer.relays)))


class LeavingTests(KeptTestCase):
    """Being found no more."""

    def test_before_signed(self) -> None:
        """What is not signed yet is not announced any more: it is over at once."""
        self.begin()
        self.assertEqual([self.world.now], self.leave())
        self.sign()
        self.world.run(2)
        self.assertEqual((set(), []), (self.known_to(), self.updated))
        self.assertClean("before")

    def test_signed_later(self) -> None:
        """All relays are told when that is signed, and until then it is not over."""
        self.sign_at_once()
        self.start()
        del self.keys.at_once["sign"]
        left = self.leave()
        self.world.run(0.5 * SIGNING_TIMEOUT)
        self.assertEqual(([], RELAYS), (left, len(self.keys.questions)))
        self.sign()
        self.world.run(1)
        self.assertEqual((1, set()), (len(left), self.known_to()))
        self.assertClean("later")

    def test_away(self) -> None:
        """A keeper that is away, or says nothing, is not waited for long."""
        for never in (False, True):
            self.setUp()
            self.sign_at_once()
            self.start()
            if never:
                del self.keys.at_once["sign"]
            else:
                self.sign_at_once(AWAY)
            left = self.leave()
            self.world.run(SIGNING_TIMEOUT + 0.5 if never else 0.5)
            self.assertEqual((1, RELAYS), (len(left), len(self.known_to())), never)
            self.assertClean(never)
            while self.keys.questions:
                self.sign(1)
            self.world.run(1)
            self.assertEqual((1, RELAYS), (len(left), len(self.known_to())), never)

    def test_resumed(self) -> None:
        """Whoever changes his mind while that is signed is found again when it was."""
        self.sign_at_once()
        self.start()
        del self.keys.at_once["sign"]
        left = self.leave()
        self.world.run(0.5)
        self.call(self.announcer.resume)
        self.assertEqual([], left)
        self.sign_at_once()
        self.sign()
        self.world.run(3)
        self.assertEqual((1, RELAYS), (len(left), len(self.known_to())))
