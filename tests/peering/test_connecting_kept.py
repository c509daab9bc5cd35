"""Clients and servers whose keys are kept elsewhere: whatever takes how long, every way leads there all the same."""

from __future__ import annotations

from spaceswarm_proxy.crypto.keeper import Keeper
from spaceswarm_proxy.crypto.keys import KeyPair
from tests.peering import test_connecting
from tests.peering.patient_keys import PatientKeys, Question
from tests.peering.test_connecting import ConnectingTestCase
from tests.peering.world import PeeringWorld

#: Seconds that an answer takes at most.
SLOW = 0.4


class SlowKeys(PatientKeys):
    """Answers what it is asked after a while, now a longer, now a shorter one."""

    def __init__(self, key_pair: KeyPair, world: PeeringWorld) -> None:
        super().__init__(key_pair)
        self._world = world

    def ask(self, question: Question, now: float) -> None:
        super().ask(question, now)
        self._world.call_at(now + self._world.chance.uniform(0, SLOW), self._answer, question)

    def _answer(self, question: Question) -> None:
        self.questions.remove(question)
        question.answer(self._world.now)
        for host in self._world.hosts:
            host.plan()


class SlowTestCase(ConnectingTestCase):
    """Both sides are slow."""

    def keys(self, key_pair: KeyPair) -> Keeper:
        return SlowKeys(key_pair, self.world)


class SlowWaysTests(SlowTestCase, test_connecting.WaysTests):
    """The ways that there are."""


class SlowTroubleTests(SlowTestCase, test_connecting.TroubleTests):
    """Loss, and other trouble."""


class SlowEndTests(SlowTestCase, test_connecting.EndTests):
    """Whoever goes in the middle of it leaves nothing."""
