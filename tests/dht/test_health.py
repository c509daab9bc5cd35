"""Tests of spaceswarm_proxy.dht.health."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from spaceswarm_proxy.dht.health import Health

#: Answers, and requests without one, of a tick.
GOOD, BAD, SILENT, HALF, QUIET = (6, 4), (4, 6), (0, 4), (5, 5), (0, 3)


def after(*ticks: tuple[int, int]) -> tuple[bool, bool]:
    """Whether somebody is online and degraded after these ticks."""
    health = Health()
    for tick in ticks:
        health.tick(*tick)
    return health.online, health.degraded


class OnlineTests(SynchronousTestCase):
    """Whether there is a network."""

    def test_at_first(self) -> None:
        """Until the contrary is shown, there is."""
        self.assertEqual(after(), (True, False))
        self.assertEqual(after(SILENT), (True, False))

    def test_silence(self) -> None:
        """Two ticks in a row in which nobody answers mean that there is none."""
        self.assertEqual(after(SILENT, SILENT), (False, False))
        self.assertEqual(after(GOOD, GOOD, SILENT, SILENT), (False, False))
        self.assertEqual(after(SILENT, GOOD, SILENT), (True, False))

    def test_few_requests(self) -> None:
        """A tick with few requests says nothing, if nobody answers."""
        self.assertEqual(after(*[QUIET] * 20), (True, False))
        self.assertEqual(after(SILENT, QUIET, (0, 0)), (True, False))
        self.assertEqual(after(SILENT, QUIET, (0, 0), SILENT), (False, False))

    def test_any_answer(self) -> None:
        """A single answer means that there is one."""
        self.assertEqual(after(SILENT, SILENT, (0, 0)), (False, False))
        self.assertEqual(after(SILENT, SILENT, (1, 0)), (True, False))
        self.assertEqual(after(SILENT, SILENT, (1, 9)), (True, False))


class DegradedTests(SynchronousTestCase):
    """Whether much is lost."""

    def test_bad(self) -> None:
        """Four ticks in a row of more losses than answers mean that much is lost."""
        self.assertEqual(after(*[BAD] * 3), (True, False))
        self.assertEqual(after(*[BAD] * 4), (True, True))
        self.assertEqual(after(BAD, BAD, HALF, BAD, BAD), (True, False))
        self.assertEqual(after(BAD, QUIET, BAD, (0, 0), BAD, BAD), (True, True))

    def test_better(self) -> None:
        """It is so until four ticks in a row are not like that."""
        for good in range(1, 4):
            self.assertEqual(after(*[BAD] * 4, *[GOOD] * good), (True, True))
        self.assertEqual(after(*[BAD] * 4, GOOD, GOOD, BAD, GOOD, GOOD), (True, True))
        self.assertEqual(after(*[BAD] * 4, *[HALF] * 4), (True, False))

    def test_both(self) -> None:
        """Who hears nobody for long is told both."""
        self.assertEqual(after(*[SILENT] * 4), (False, True))


class HealthTests(SynchronousTestCase):
    """In general."""

    def test_reset(self) -> None:
        """After a reset it is as at first, and what was before counts for nothing."""
        health = Health()
        for _ in range(4):
            health.tick(*SILENT)
        health.reset()
        self.assertEqual((health.online, health.degraded), (True, False))
        self.assertFalse(health.tick(*SILENT))
        self.assertTrue(health.tick(*SILENT))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.sampled_from([GOOD, BAD, SILENT, HALF, QUIET, (0, 0), (1, 0)]), max_size=30))
    def test_changes(self, ticks: list[tuple[int, int]]) -> None:
        """A change is told when there is one and only then; ticks of no requests are none."""
        health = Health()
        for tick in ticks:
            before = health.online, health.degraded
            told = health.tick(*tick)
            self.assertEqual(told, before != (health.online, health.degraded))
            if sum(tick) == 0:
                self.assertFalse(told)
            if tick[0]:
                self.assertTrue(health.online)
