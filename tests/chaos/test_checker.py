"""Tests of tests.chaos.checker."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.checker import LOOK, Checker, NotWholeError
from tests.interop.crowd_support import Pair

ALL = {("alice", "bob"), ("bob", "alice"), ("bob", "carol"), ("carol", "bob")}


class World:
    """In which the test says what arrives."""

    def __init__(self) -> None:
        self.expected = ALL
        self.crowds: Any = self
        self.rounds: list[int] = []
        self.arrived: dict[int, set[Pair]] = {}
        self.damage: list[str] = []
        self.noise: list[str] = []

    def round(self, number: int, length: int) -> None:
        self.rounds.append(number)

    def exchanged(self, number: int) -> set[Pair]:
        return self.arrived.get(number, set())

    def problems(self) -> list[str]:
        return self.damage

    def complaints(self) -> list[str]:
        return self.noise


class CheckerTests(SynchronousTestCase):
    """When it is content, and when not."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.world = World()
        self.checker = Checker(self.clock, self.world)

    def look(self) -> Deferred[float]:
        return Deferred.fromCoroutine(self.checker.becomes_whole(5.0))

    def test_whole(self) -> None:
        """It waits until everybody has reached everybody whom he should meet, and tells how long that took."""
        looking = self.look()
        self.world.arrived[1] = ALL - {("carol", "bob")}
        self.clock.pump([LOOK] * 10)
        self.assertNoResult(looking)
        self.world.arrived[1] = ALL
        self.clock.advance(LOOK)
        self.assertAlmostEqual(11 * LOOK, self.successResultOf(looking))

    def test_fresh_bytes(self) -> None:
        """What has arrived in one round does not count in the next."""
        self.world.arrived[1] = ALL
        self.successResultOf(self.look())
        again = self.look()
        self.assertEqual([1, 2], self.world.rounds)
        self.assertNoResult(again)
        self.world.arrived[2] = ALL
        self.clock.advance(LOOK)
        self.successResultOf(again)

    def test_too_late(self) -> None:
        """Who has not reached whom is told by name."""
        self.world.arrived[1] = ALL - {("bob", "alice"), ("bob", "carol")}
        looking = self.look()
        self.clock.pump([LOOK] * 60)
        problem = self.failureResultOf(looking, NotWholeError).getErrorMessage()
        self.assertIn("bob -> alice, carol", problem)
        self.assertNotIn("carol ->", problem)

    def test_damage(self) -> None:
        """What was damaged on the way is found, and so is what one of ours complains of."""
        self.world.arrived = {1: ALL, 2: ALL}
        self.world.damage = ["not what was sent"]
        self.assertIn("not what was sent", self.failureResultOf(self.look(), NotWholeError).getErrorMessage())
        self.world.damage, self.world.noise = [], ["Traceback"]
        self.assertIn("Traceback", self.failureResultOf(self.look(), NotWholeError).getErrorMessage())
